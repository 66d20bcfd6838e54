// Single packets, written and read by ilp-packet, from alice through the switch to bob.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import test from 'node:test'

import ILDCP from 'ilp-protocol-ildcp'
import IlpPacket from 'ilp-packet'

import { assertRejected, connect, fulfill, prepareTo } from './client.mjs'
import { account, startSwitch } from './switch.mjs'

const MARGIN_MS = 1000
const DESTINATION = 'test.m2m.bob.invoice-7'
const NOTHING_MOVED = { alice: '0', bob: '0' }

async function aliceAndBob (t, { alice = {}, bob = {} } = {}) {
  const running = await startSwitch(t, {
    accounts: [account('alice', alice), account('bob', bob)],
    words: { expiry_margin_ms: MARGIN_MS, remaining_ms_min: 1000 }
  })
  return { running, alice: await connect(running, 'alice'), bob: await connect(running, 'bob') }
}

/** The offset of the amount; the expiry of 17 digits follows its eight bytes. */
const amountOffset = bytes => bytes[1] < 0x80 ? 2 : 2 + (bytes[1] & 0x7f)

for (const dataLen of [0, 1, 100, 300, 32_767]) {
  test(`all but the expiry arrives unchanged, with ${dataLen} bytes of data`, async t => {
    const { running, alice, bob } = await aliceAndBob(t)
    const { prepare, fulfillment } = prepareTo(DESTINATION, { data: randomBytes(dataLen) })
    const answerData = randomBytes(dataLen)
    bob.registerDataHandler(() => fulfill(fulfillment, answerData))
    const answer = await alice.pay(prepare)

    assert.deepEqual(answer.bytes, fulfill(fulfillment, answerData))
    const [received] = bob.received
    assert.deepEqual(received.prepare.executionCondition, prepare.executionCondition)
    assert.deepEqual(received.prepare.data, prepare.data)
    assert.equal(received.prepare.amount, prepare.amount)
    assert.equal(received.prepare.expiresAt - prepare.expiresAt, -MARGIN_MS)

    const sent = IlpPacket.serializeIlpPrepare(prepare)
    const expiryOffset = amountOffset(sent) + 8
    for (const bytes of [sent, received.bytes]) bytes.fill(0, expiryOffset, expiryOffset + 17)
    assert.deepEqual(received.bytes, sent)
    assert.deepEqual(await running.balances(), { alice: '1000', bob: '-1000' })
  })
}

test('an expiry further off than the longest hold is cut to it', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  const { prepare, fulfillment } = prepareTo(DESTINATION, { expiresAt: new Date(Date.now() + 90_000) })
  bob.registerDataHandler(() => fulfill(fulfillment))
  const before = Date.now()
  await alice.pay(prepare)
  const hold = bob.received[0].prepare.expiresAt.getTime()
  assert.ok(hold >= before + 30_000 && hold <= Date.now() + 30_000)
  assert.deepEqual(await running.balances(), { alice: '1000', bob: '-1000' })
})

test('an address that no route leads to is F02', async t => {
  const { running, alice } = await aliceAndBob(t)
  for (const destination of ['test.m2m.nobody', 'test.elsewhere', 'test.m2m.bobby', 'g.bob', 'local.bob']) {
    assertRejected(await alice.pay(prepareTo(destination).prepare), 'F02')
  }
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a packet too late to be forwarded in time is R02', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  for (const remaining of [-1000, 0, 1500]) {
    const { prepare } = prepareTo(DESTINATION, { expiresAt: new Date(Date.now() + remaining) })
    assertRejected(await alice.pay(prepare), 'R02')
  }
  assert.equal(bob.received.length, 0)
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('an amount above the limit is F08, with both amounts', async t => {
  const { running, alice } = await aliceAndBob(t, { alice: { packet_amount_max: 999 } })
  const answer = await alice.pay(prepareTo(DESTINATION).prepare)
  assertRejected(answer, 'F08')
  const { data } = answer.data
  assert.deepEqual([data.readBigUInt64BE(0), data.readBigUInt64BE(8), data.length], [1000n, 999n, 16])
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a wrong preimage pays nobody', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  bob.registerDataHandler(() => fulfill(randomBytes(32)))
  assertRejected(await alice.pay(prepareTo(DESTINATION).prepare), 'F05')
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a silent receiver is R00 before the sender\'s expiry, and its late FULFILL moves nothing', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  const { prepare, fulfillment } = prepareTo(DESTINATION, { expiresAt: new Date(Date.now() + 3_000) })
  let answerLate
  bob.registerDataHandler(() => new Promise(resolve => { answerLate = resolve }))
  const answer = await alice.pay(prepare)
  const answeredAt = Date.now()

  assertRejected(answer, 'R00')
  assert.ok(answeredAt < prepare.expiresAt.getTime(), 'in time for the sender')
  assert.ok(answeredAt >= bob.received[0].prepare.expiresAt.getTime(), 'not before the receiver\'s expiry')
  answerLate(fulfill(fulfillment))
  // Frames of one connection are read in order: what follows the late one comes after it.
  await new Promise(resolve => setImmediate(resolve))
  await ILDCP.fetch(bob.sendData.bind(bob))
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a REJECT passes unchanged, byte for byte', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  const reject = words => IlpPacket.serializeIlpReject({
    code: 'F99', triggeredBy: 'test.m2m.bob.invoice-7', message: '', data: Buffer.alloc(0), ...words
  })
  const rejects = [
    reject({}),
    reject({ code: 'T02', message: 'busy' }),
    reject({ code: 'R99', message: 'Zahlung zurückgewiesen ✗', data: randomBytes(1_000) }),
    reject({ code: 'F10', triggeredBy: '', data: randomBytes(32_767), message: 'm'.repeat(8_191) })
  ]
  const queue = [...rejects]
  bob.registerDataHandler(() => queue.shift())
  for (const expected of rejects) {
    const answer = await alice.sendData(IlpPacket.serializeIlpPrepare(prepareTo(DESTINATION).prepare))
    assert.deepEqual(answer, expected)
  }
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a receiver that answers with a BTP ERROR, or with no packet, ends the packet at once', async t => {
  const { running, alice, bob } = await aliceAndBob(t)
  bob.registerDataHandler(() => { throw new Error('cannot') })
  assertRejected(await alice.pay(prepareTo(DESTINATION).prepare), 'T00')
  bob.deregisterDataHandler()
  bob.registerDataHandler(() => undefined)
  assertRejected(await alice.pay(prepareTo(DESTINATION).prepare), 'T01')
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('a next hop that is not connected is T01', async t => {
  const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
  const alice = await connect(running, 'alice')
  assertRejected(await alice.pay(prepareTo(DESTINATION).prepare), 'T01')
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('what is no packet inside a good frame is F01', async t => {
  const { running, alice } = await aliceAndBob(t)
  const good = IlpPacket.serializeIlpPrepare(prepareTo(DESTINATION).prepare)
  const truncated = good.subarray(0, good.length - 1)
  for (const bytes of [Buffer.from([12]), Buffer.from('no packet'), truncated]) {
    const answer = await alice.sendData(bytes)
    assertRejected({ bytes: answer, ...IlpPacket.deserializeIlpPacket(answer) }, 'F01')
  }
  assert.deepEqual(await running.balances(), NOTHING_MOVED)
})

test('the credit of the sender ends where its limit says', async t => {
  const { running, alice, bob } = await aliceAndBob(t, { alice: { balance_max: 2_500 } })
  const packets = [1, 2, 3].map(() => prepareTo(DESTINATION))
  const preimages = new Map(packets.map(({ prepare, fulfillment }) =>
    [prepare.executionCondition.toString('hex'), fulfillment]))
  bob.registerDataHandler(bytes => {
    const { executionCondition } = IlpPacket.deserializeIlpPrepare(bytes)
    return fulfill(preimages.get(executionCondition.toString('hex')))
  })
  const answers = []
  for (const { prepare } of packets) answers.push(await alice.pay(prepare))
  assert.deepEqual(answers.map(({ type }) => type), [13, 13, 14])
  assertRejected(answers[2], 'T04')
  assert.equal(answers[2].data.message, 'exceeded maximum balance.')
  assert.deepEqual(await running.balances(), { alice: '2000', bob: '-2000' })
})
