// STREAM (RFC 29): a client pays a server through the switch, and the books say the same.

import assert from 'node:assert/strict'
import test from 'node:test'

import IlpPacket from 'ilp-packet'
import Stream from 'ilp-protocol-stream'

import { RecordingPlugin } from './client.mjs'
import { account, startSwitch } from './switch.mjs'

const TOTAL = 1_000_000

/**
 * Stays connected when its payment is over, and then refuses for good: the server sends packets of
 * its own, of amount zero, and would retry for minutes what it only thinks is busy.
 */
class PatientPlugin extends RecordingPlugin {
  deregisterDataHandler () {
    super.deregisterDataHandler()
    this.registerDataHandler(() => IlpPacket.serializeIlpReject({
      code: 'F00', triggeredBy: 'test.m2m.alice', message: 'the payment is over', data: Buffer.alloc(0)
    }))
  }

  async disconnect () {}

  leave () {
    return super.disconnect()
  }
}

/** Pays TOTAL units from alice to bob; gives what bob received, in packets and in sum. */
async function pay (running) {
  const sender = new PatientPlugin({ server: running.url('alice') })
  running.beforeStop(() => sender.leave())
  const plugin = new RecordingPlugin({ server: running.url('bob') })
  const server = await Stream.createServer({ plugin })
  running.beforeStop(() => server.close())
  server.on('connection', connection => {
    connection.on('stream', stream => stream.setReceiveMax(2 * TOTAL))
  })

  const { destinationAccount, sharedSecret } = server.generateAddressAndSecret()
  const client = await Stream.createConnection({
    plugin: sender,
    destinationAccount,
    sharedSecret,
    slippage: 0
  })
  const stream = client.createStream()
  await stream.sendTotal(TOTAL, { timeout: 60_000 })
  assert.equal(stream.totalSent, String(TOTAL))
  await client.end()

  const fulfilled = plugin.received.filter(({ answer, prepare }) =>
    answer?.[0] === IlpPacket.Type.TYPE_ILP_FULFILL && prepare.amount !== '0')
  const amounts = fulfilled.map(({ prepare }) => Number(prepare.amount))
  return { amounts, sum: amounts.reduce((sum, amount) => sum + amount, 0), client }
}

test('one million units in one packet', async t => {
  const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
  const { amounts } = await pay(running)
  assert.deepEqual(amounts, [TOTAL])
  assert.deepEqual(await running.balances({ waitMs: 5_000 }), { alice: `${TOTAL}`, bob: `-${TOTAL}` })
})

test('one million units in two hundred packets, as F08 tells the client how much one may carry', async t => {
  const running = await startSwitch(t, {
    accounts: [account('alice', { packet_amount_max: 5_000 }), account('bob')]
  })
  const { amounts } = await pay(running)
  assert.deepEqual(amounts, Array(200).fill(5_000))
  assert.deepEqual(await running.balances({ waitMs: 5_000 }), { alice: `${TOTAL}`, bob: `-${TOTAL}` })
})

test('one million units of one asset arrive as another at the rate of the switch', async t => {
  const running = await startSwitch(t, {
    accounts: [account('alice'), account('bob', { asset: 'XRP/6' })],
    assets: [{ code: 'USD', scale: 9 }, { code: 'XRP', scale: 6 }],
    rates: [
      { from: 'USD/9', to: 'XRP/6', rate: '2.5', spread_ppm: 0 },
      { from: 'XRP/6', to: 'USD/9', rate: '0.4', spread_ppm: 0 }
    ]
  })
  const { sum, client } = await pay(running)
  assert.equal(sum, 2_500)
  assert.equal(client.totalDelivered, '2500')
  assert.deepEqual(await running.balances({ waitMs: 5_000 }), { alice: `${TOTAL}`, bob: '-2500' })
})
