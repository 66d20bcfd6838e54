// IL-DCP (RFC 31): a child asks what its address and asset are.

import assert from 'node:assert/strict'
import test from 'node:test'

import ILDCP from 'ilp-protocol-ildcp'

import { connect } from './client.mjs'
import { account, startSwitch } from './switch.mjs'

const fetchFrom = plugin => ILDCP.fetch(plugin.sendData.bind(plugin))

test('a child learns its address and asset', async t => {
  const running = await startSwitch(t, {
    accounts: [account('alice'), account('bob', { asset: 'XRP/6', ildcp_segment: 'bob-2' })],
    assets: [{ code: 'USD', scale: 9 }, { code: 'XRP', scale: 6 }]
  })
  const alice = await connect(running, 'alice')
  const bob = await connect(running, 'bob')
  assert.deepEqual(
    await fetchFrom(alice),
    { clientAddress: 'test.m2m.alice', assetCode: 'USD', assetScale: 9 }
  )
  assert.deepEqual(
    await fetchFrom(bob),
    { clientAddress: 'test.m2m.bob-2', assetCode: 'XRP', assetScale: 6 }
  )
  assert.deepEqual(await running.balances(), { alice: '0', bob: '0' })
})

test('a peer that is no child is refused', async t => {
  const running = await startSwitch(t, { accounts: [account('alice', { relation: 'peer' })] })
  const alice = await connect(running, 'alice')
  await assert.rejects(fetchFrom(alice), /IL-DCP failed/)
})
