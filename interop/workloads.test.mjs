// The workload `smoke` of m2-load against real targets, each configured by `m2-load workloads smoke
// --config`: m2-switch, whose books are compared to the unit, and npm ilp-connector 23.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

const LOAD = process.env.M2_LOAD ?? '../debug/m2-load'
const SWITCH = process.env.M2_SWITCH ?? '../debug/m2-switch'
const CONNECTOR = 'node_modules/ilp-connector/dist/index.js'
const ENDS = 6
const START_MS_MAX = 30_000

/** Every kind of packet, and how many of 600 each is sent: none may come back otherwise. */
const KINDS = { fulfilled: 544, rejected: 20, expired: 8, wrong_fulfillment: 13, unroutable: 15 }

async function temporaryFolder (t) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'm2m-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function load (arguments_) {
  const child = spawn(LOAD, arguments_, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', data => { text += data })
  const [status] = await once(child, 'close')
  return { status, text }
}

/** A target as a child that ends with the test. */
function start (t, command, arguments_) {
  const child = spawn(command, arguments_, { stdio: 'ignore' })
  t.after(async () => {
    child.kill()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'close')
  })
}

/** Until somebody listens at each of these, which are what `net.connect` takes. */
async function listening (addresses) {
  const giveUp = Date.now() + START_MS_MAX
  for (const address of addresses) {
    while (!await connects(address)) {
      assert.ok(Date.now() < giveUp, `nobody listens at ${JSON.stringify(address)}`)
      await sleep(20)
    }
  }
}

function connects (address) {
  return new Promise(resolve => {
    const socket = net.connect(address, () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}

/** The first of as many free ports in a row as there are ends. */
async function freePorts () {
  for (let first = 21_000 + process.pid % 9_000; first < 32_000; first += ENDS) {
    const ports = Array.from({ length: ENDS }, (_, index) => first + index)
    const taken = await Promise.all(ports.map(port => connects({ port, host: '127.0.0.1' })))
    if (!taken.includes(true)) return ports
  }
  assert.fail('no free ports')
}

/** Runs `smoke` for 600 packets; everything must come back as it should. */
async function assertSmokes (arguments_) {
  const { status, text } = await load(['run', '--workload', 'smoke', '--rate', '200', '--json', '--quiet', ...arguments_])
  const report = JSON.parse(text)
  assert.deepEqual(report.failures, [])
  assert.equal(status, 0)
  const kinds = report.kinds.map(({ kind, as_expected }) => [kind, as_expected])
  assert.deepEqual(Object.fromEntries(kinds), KINDS)
  assert.equal(report.books.flows.length, 4)
  return report
}

describe('a target that m2-load configured for its workload `smoke`', { concurrency: true }, () => {
  test('m2-switch serves it, and its books agree to the unit', async t => {
    const folder = await temporaryFolder(t)
    const socket = path.join(folder, 'btp.sock')
    const target = ['--target', `btp+unix://${socket}`]
    const { status, text } = await load(['workloads', 'smoke', '--config', 'm2-switch', '--folder', folder, ...target])
    assert.equal(status, 0)
    assert.match(text, /TOKENS ARE PUBLIC/)
    start(t, SWITCH, ['run', '--config', path.join(folder, 'switch.toml')])
    await listening([socket])
    const control = path.join(folder, 'control.sock')
    const report = await assertSmokes([...target, '--control-socket', control])
    assert.equal(report.books.compared_with_target, true)
    assert.equal(report.books.ends.length, ENDS)
  })

  test('ilp-connector 23 serves it, and both ends of every flow agree', async t => {
    const folder = await temporaryFolder(t)
    const ports = await freePorts()
    const target = ['--target', `btp+ws://127.0.0.1:${ports[0]}+`]
    const { status } = await load(['workloads', 'smoke', '--config', 'ilp-connector', '--folder', folder, ...target])
    assert.equal(status, 0)
    start(t, path.join(folder, 'ilp-connector.sh'), [process.execPath, CONNECTOR])
    await listening(ports.map(port => ({ port, host: '127.0.0.1' })))
    await assertSmokes(target)
  })
})
