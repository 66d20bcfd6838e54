// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What these tests ask of Forge. forge-std is in no registry in a version that is kept.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function chainId(uint256 id) external;
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data, address emitter) external;
    function expectRevert(bytes calldata data) external;
    function prank(address sender) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function warp(uint256 timestamp) external;
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function parseJsonBytes32(string calldata json, string calldata key) external pure returns (bytes32);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function etch(address target, bytes calldata code) external;
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function snapshotGasLastCall(string calldata name) external returns (uint256);
    function toString(uint256 number) external pure returns (string memory);
    function readFile(string calldata path) external view returns (string memory);
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

function eq(uint256 found, uint256 wanted, string memory what) pure {
    if (found != wanted) revert Differs(what, found, wanted);
}

error Differs(string what, uint256 found, uint256 wanted);

/// A number within both bounds.
function within(uint256 number, uint256 least, uint256 most) pure returns (uint256) {
    return least + number % (most - least + 1);
}
