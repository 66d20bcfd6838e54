// How clients connect: who they say they are, over what, and who dials.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import test from 'node:test'

import BtpPacket from 'btp-packet'
import ILDCP from 'ilp-protocol-ildcp'
import PluginBtp from 'ilp-plugin-btp'

import { connect, fulfill, prepareTo, RecordingPlugin } from './client.mjs'
import { account, randomToken, startSwitch } from './switch.mjs'

const fetchFrom = sendData => ILDCP.fetch(sendData).then(({ clientAddress }) => clientAddress)

test('a wrong token, an unknown user and no token are refused with NotAcceptedError', async t => {
  const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
  const { token: tokenOfBob } = running.accounts[1]
  for (const [name, token] of [['alice', randomToken()], ['alice', tokenOfBob], ['mallory', tokenOfBob], ['alice', '']]) {
    const errors = []
    const log = { info () {}, debug () {}, trace () {}, error: (...words) => errors.push(words.join(' ')) }
    const plugin = new PluginBtp({ server: running.url(name, { token }) }, { log })
    running.beforeStop(() => plugin.disconnect())
    await assert.rejects(plugin.connect(), /connection aborted/, name)
    assert.match(errors.join('\n'), /"code":"F00","name":"NotAcceptedError"/)
  }
  assert.ok(!running.log.includes(tokenOfBob), 'a token is never logged')
  assert.deepEqual(await running.balances(), { alice: '0', bob: '0' })
})

test('the account is known by the path, by the user name, or by both', async t => {
  const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
  const [{ token }] = running.accounts
  const address = running.listen('ws')
  for (const server of [
    `btp+ws://alice:${token}@${address}`,
    `btp+ws://alice:${token}@${address}/accounts/alice/ilp/btp`,
    `btp+ws://:${token}@${address}/accounts/alice/ilp/btp`
  ]) {
    const plugin = new PluginBtp({ server })
    await plugin.connect()
    assert.equal(await fetchFrom(plugin.sendData.bind(plugin)), 'test.m2m.alice')
    await plugin.disconnect()
  }
})

test('the switch dials a client that listens', async t => {
  const token = randomToken()
  const bob = new RecordingPlugin({ listener: { secret: token, wsOpts: { port: 0, host: '127.0.0.1' } } })
  t.after(() => bob.disconnect())
  const connected = bob.connect()
  connected.catch(() => {}) // of a test that fails before it is awaited
  await once(bob._wss, 'listening')
  const running = await startSwitch(t, {
    accounts: [
      account('alice'),
      account('bob', {
        relation: 'peer',
        dial: `btp+ws://m2m@127.0.0.1:${bob._wss.address().port}/`,
        dial_token: token,
        routes: ['test.bob']
      })
    ]
  })
  await connected
  const alice = await connect(running, 'alice')
  const { prepare, fulfillment } = prepareTo('test.bob.shop')
  bob.registerDataHandler(() => fulfill(fulfillment))
  const answer = await alice.pay(prepare)
  assert.deepEqual(answer.bytes, fulfill(fulfillment))
  assert.deepEqual(await running.balances(), { alice: '1000', bob: '-1000' })
})

for (const transport of ['tcp', 'unix']) {
  test(`frames of btp-packet straight on ${transport}`, async t => {
    const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
    const link = await FrameLink.connect(running, transport)
    const { token } = running.accounts[0]
    const answer = await link.call([
      { protocolName: 'auth', contentType: BtpPacket.MIME_APPLICATION_OCTET_STREAM, data: Buffer.alloc(0) },
      { protocolName: 'auth_username', contentType: BtpPacket.MIME_TEXT_PLAIN_UTF8, data: Buffer.from('alice') },
      { protocolName: 'auth_token', contentType: BtpPacket.MIME_TEXT_PLAIN_UTF8, data: Buffer.from(token) }
    ])
    assert.deepEqual([answer.type, answer.data.protocolData], [BtpPacket.TYPE_RESPONSE, []])
    assert.equal(await fetchFrom(bytes => link.sendData(bytes)), 'test.m2m.alice')

    const bob = await connect(running, 'bob')
    const { prepare, fulfillment } = prepareTo('test.m2m.bob')
    bob.registerDataHandler(() => fulfill(fulfillment))
    const paid = await RecordingPlugin.prototype.pay.call(link, prepare)
    assert.deepEqual(paid.bytes, fulfill(fulfillment))
    assert.deepEqual(await running.balances(), { alice: '1000', bob: '-1000' })
  })
}

/** BTP without a WebSocket: frames delimit themselves by their length. */
class FrameLink {
  #socket
  #buffer = Buffer.alloc(0)

  static async connect (running, transport) {
    const link = new FrameLink()
    const address = running.listen(transport)
    const [host, port] = address.split(':')
    link.#socket = transport === 'tcp' ? net.connect(Number(port), host) : net.connect(address)
    running.beforeStop(() => link.#socket.destroy())
    await once(link.#socket, 'connect')
    return link
  }

  /** Sends a MESSAGE and reads the one frame that answers it. */
  async call (protocolData) {
    const requestId = randomBytes(4).readUInt32BE()
    this.#socket.write(BtpPacket.serializeMessage(requestId, protocolData))
    for (;;) {
      const len = frameLen(this.#buffer)
      if (len && this.#buffer.length >= len) {
        const frame = BtpPacket.deserialize(this.#buffer.subarray(0, len))
        this.#buffer = this.#buffer.subarray(len)
        assert.equal(frame.requestId, requestId)
        return frame
      }
      const [bytes] = await once(this.#socket, 'data')
      this.#buffer = Buffer.concat([this.#buffer, bytes])
    }
  }

  async sendData (data) {
    const ilp = { protocolName: 'ilp', contentType: BtpPacket.MIME_APPLICATION_OCTET_STREAM, data }
    const answer = await this.call([ilp])
    return answer.data.protocolData.find(({ protocolName }) => protocolName === 'ilp').data
  }
}

/** The length of the frame at the front: type, request id, length determinant, contents. */
function frameLen (bytes) {
  if (bytes.length < 6) return undefined
  const short = bytes[5]
  if (short < 0x80) return 6 + short
  const count = short & 0x7f
  return bytes.length < 6 + count ? undefined : 6 + count + bytes.readUIntBE(6, count)
}
