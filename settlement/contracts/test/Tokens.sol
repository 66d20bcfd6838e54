// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// As most tokens are.
contract Token is ERC20 {
    constructor() ERC20("A token", "TKN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}

/// Keeps a hundredth of each transfer.
contract TaxedToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0) && to != address(0)) super._update(to, address(this), amount / 100);
    }
}

/// Its balances can be made to shrink, all at once.
contract ShrinkingToken is Token {
    uint256 public percent = 100;

    function burn(address owner, uint256 amount) external {
        _burn(owner, amount);
    }

    function shrink(uint256 to) external {
        percent = to;
    }

    function balanceOf(address owner) public view override returns (uint256) {
        return super.balanceOf(owner) * percent / 100;
    }
}

/// Bars addresses, as USDC does.
contract BarringToken is Token {
    mapping(address => bool) public isBarred;

    function bar(address who, bool is_) external {
        isBarred[who] = is_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!isBarred[to] && !isBarred[from], "barred");
        super._update(from, to, amount);
    }
}

/// Takes a hundredth from its sender beside each transfer, once told to.
contract SurchargingToken is Token {
    bool public charges;

    function charge() external {
        charges = true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (charges && from != address(0)) super._update(from, address(0xdead), amount / 100);
    }
}

/// Gives a unit more than was asked for.
contract GenerousToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0)) super._update(address(0), to, 1);
    }
}

/// Moves tokens and says that it has not.
contract LyingToken is Token {
    bool public lies;

    function lie(bool is_) external {
        lies = is_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        super.transfer(to, amount);
        return !lies;
    }
}

/// Spends all the gas that it gets, once told to.
contract BurningToken is Token {
    bool public burns;

    function burnGas() external {
        burns = true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        while (burns) {}
    }
}

/// Has so much to do for a transfer.
contract WorkingToken is Token {
    uint256 public gasNeeded;

    function work(uint256 gas_) external {
        gasNeeded = gas_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        for (uint256 start = gasleft(); start - gasleft() < gasNeeded;) {}
    }
}

/// Calls back when it moves, as ERC-777 lets receivers do.
contract CallingToken is Token {
    address public target;
    bytes public call;
    /// What came of the last call.
    bytes public answer;

    function arm(address target_, bytes calldata call_) external {
        (target, call, answer) = (target_, call_, "");
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (target == address(0)) return;
        (, answer) = target.call(call);
    }
}

/// Returns nothing where ERC-20 wants a bool, as USDT does.
contract SilentToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
