// `m2-load send` and `m2-load receive` in two processes, with m2-switch and with ilp-connector 23
// between them: their books are compared through the connector, to the unit.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'

import { startConnector } from './connector.mjs'
import { account, startSwitch } from './switch.mjs'

const BINARY = process.env.M2_LOAD ?? '../debug/m2-load'

/** A workload of two seconds from alice, in units of 10^-9 USD, to bob, in those of 10^-6. */
const workload = (alice, bob, address) => `seed = 7
seconds = 2
rate_per_s = 500
[traffic]
amount = [1000, 1000000]
[mix]
fulfilled = 900
rejected = 100
[[ends]]
name = "alice"
url = "${alice}"
role = "send"
[[ends]]
name = "bob"
url = "${bob}"
role = "receive"
address = "${address}"
[[flows]]
from = "alice"
to = "bob"
num = 1
den = 1000
`

/** Starts the generator, and gives what it prints. */
function load (command, file, more = []) {
  const child = spawn(BINARY, [command, '--workload', file, '--json', ...more])
  const running = { child, stdout: '', stderr: '' }
  child.stdout.on('data', data => { running.stdout += data })
  child.stderr.on('data', data => { running.stderr += data })
  running.ended = once(child, 'close').then(([status]) => status)
  return running
}

/** Plays both ends apart, and holds their books against each other. */
async function play (t, text, more) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'm2m-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = path.join(folder, 'workload.toml')
  await writeFile(file, text)
  const receiver = load('receive', file, ['--runs', '1'])
  t.after(() => receiver.child.kill())
  // It says so when its ends are connected.
  await Promise.race([once(receiver.child.stderr, 'data'), receiver.ended])
  const sender = load('send', file, ['--quiet', ...more])
  assert.equal(await sender.ended, 0, sender.stderr + sender.stdout)
  assert.equal(await receiver.ended, 0, receiver.stderr)
  const [report, received] = [JSON.parse(sender.stdout), JSON.parse(receiver.stdout)]
  assert.equal(report.fulfilled, 900)
  assert.equal(report.books.compared_with_receivers, true, report.books.summary)
  const [flow] = report.books.flows
  assert.ok(BigInt(flow.owed) > 0n)
  assert.equal(flow.received, flow.owed)
  assert.equal(received.flows[0].received, flow.owed)
  assert.equal(received.fulfilled, 900)
  assert.deepEqual(received.faults, [])
  return report
}

test('the books of two processes agree through m2-switch, and with its own', async t => {
  const assets = [{ code: 'USD', scale: 9 }, { code: 'USD', scale: 6 }]
  const accounts = [account('alice'), account('bob', { asset: 'USD/6' })]
  const running = await startSwitch(t, { accounts, assets })
  const url = ({ name, token }) => `btp+tcp://${name}:${token}@${running.listen('tcp')}`
  const text = workload(...accounts.map(url), 'test.m2m.bob')
  const report = await play(t, text, ['--control-socket', running.controlSocket])
  assert.equal(report.books.compared_with_target, true, report.books.summary)
})

test('the books of two processes agree through ilp-connector 23', async t => {
  const { alice, bob } = await startConnector(t)
  await play(t, workload(alice, bob, 'test.js.bob'), [])
})
