// Interledger clients around ilp-plugin-btp and ilp-packet.

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'

import PluginBtp from 'ilp-plugin-btp'
import IlpPacket from 'ilp-packet'

export const sha256 = bytes => createHash('sha256').update(bytes).digest()

/** ilp-plugin-btp, connected as the account `name` until the test ends. */
export async function connect (running, name) {
  const plugin = new RecordingPlugin({ server: running.url(name) })
  running.beforeStop(() => plugin.disconnect())
  await plugin.connect()
  return plugin
}

/** The plugin, with a list of what came in and what was answered. */
export class RecordingPlugin extends PluginBtp {
  /** Each PREPARE that arrived: its bytes and fields, and the answer's bytes once it was given. */
  received = []

  registerDataHandler (handler) {
    super.registerDataHandler(async bytes => {
      const entry = { bytes, prepare: IlpPacket.deserializeIlpPrepare(bytes) }
      this.received.push(entry)
      entry.answer = await handler(bytes)
      return entry.answer
    })
  }

  /** Sends the PREPARE and reads the answer. */
  async pay (prepare) {
    const bytes = await this.sendData(IlpPacket.serializeIlpPrepare(prepare))
    return { bytes, ...IlpPacket.deserializeIlpPacket(bytes) }
  }
}

/** A PREPARE and the preimage of its condition. */
export function prepareTo (destination, words = {}) {
  const fulfillment = randomBytes(32)
  const prepare = {
    amount: '1000',
    executionCondition: sha256(fulfillment),
    expiresAt: new Date(Date.now() + 10_000),
    destination,
    data: randomBytes(100),
    ...words
  }
  return { prepare, fulfillment }
}

export const fulfill = (fulfillment, data = Buffer.alloc(0)) =>
  IlpPacket.serializeIlpFulfill({ fulfillment, data })

/** That the answer is a REJECT with this code, made by the switch itself. */
export function assertRejected (answer, code) {
  assert.equal(answer.type, IlpPacket.Type.TYPE_ILP_REJECT)
  assert.deepEqual(
    { code: answer.data.code, triggeredBy: answer.data.triggeredBy },
    { code, triggeredBy: 'test.m2m' },
    answer.data.message
  )
}
