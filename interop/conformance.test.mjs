// `m2-load conformance` against m2-switch and against ilp-connector 23. The reports in
// docs/conformance/ must be what these runs find; M2_KEEP_REPORTS=1 writes them anew.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { describe, test } from 'node:test'

import { PACKET_AMOUNT_MAX, startConnector } from './connector.mjs'
import { account, startSwitch } from './switch.mjs'

const BINARY = process.env.M2_LOAD ?? '../debug/m2-load'
const REPORTS = process.env.M2_REPORTS ?? '../../docs/conformance'

const LIMIT = '1000000000000000000'
const limits = { balance_max: LIMIT, payable_max: LIMIT, packet_amount_max: PACKET_AMOUNT_MAX }

/** Alice has units of 10^-9 USD and bob of 10^-6, so that amounts are converted and can vanish. */
const RATE = ['--rate', '1/1000']
const assets = [{ code: 'USD', scale: 9 }, { code: 'USD', scale: 6 }]

/** What ilp-connector fails. Each stands in docs/conformance.md with its reason. */
const FAILED_BY_ILP_CONNECTOR = [
  'ws.unmasked',
  'timestamp.month-13',
  'timestamp.february-30',
  'timestamp.hour-24',
  'timestamp.second-60',
  'address.high-bit',
  'ilp.data-too-long',
  'errors.f01',
  'forward.amount-vanishes',
  'answer.other-connection',
  'expiry.epoch'
]

/** Plays the checks; gives exit status, text and JSON. */
async function play (t, name, target, receiver, more = []) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'm2m-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const jsonFile = path.join(folder, 'report.json')
  const child = spawn(BINARY, [
    'conformance', '--name', name, '--target', target, '--receiver', receiver,
    '--packet-amount-max', PACKET_AMOUNT_MAX, '--amount', '1000000', '--json-file', jsonFile, ...more
  ], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', data => { text += data })
  const [status] = await once(child, 'close')
  return { status, text: steady(text), report: JSON.parse(steady(await readFile(jsonFile, 'utf8'))) }
}

/** A run's text with the port of every run. */
const steady = text => text.replace(/127\.0\.0\.1:\d+/g, '127.0.0.1:7768')

/** A report without what differs from run to run: times, and words of a target for the eye. */
function comparable ({ text, report }) {
  const { duration_ms, checks, ...rest } = report
  return {
    text: text.split('\n').filter(line => !line.includes('it says  ')).join('\n'),
    report: { ...rest, checks: checks.map(({ duration_ms, message, ...row }) => row) }
  }
}

async function assertKept (name, fresh) {
  const files = ['txt', 'json'].map(extension => path.join(REPORTS, `${name}.${extension}`))
  if (process.env.M2_KEEP_REPORTS) {
    await writeFile(files[0], fresh.text)
    await writeFile(files[1], JSON.stringify(fresh.report, undefined, 2) + '\n')
  }
  const [text, json] = await Promise.all(files.map(file => readFile(file, 'utf8')))
  assert.deepEqual(comparable(fresh), comparable({ text, report: JSON.parse(json) }),
    `docs/conformance/${name} is not what this run found; M2_KEEP_REPORTS=1 cargo xtask interop writes it anew`)
}

const failed = report => report.checks.filter(({ outcome }) => outcome === 'failed').map(({ id }) => id)

// Beside each other, as most of their time they wait for packets to expire.
describe('conformance', { concurrency: true }, () => {
  test('m2-switch fails no check, on any transport', async t => {
    const [ws, tcp, unix] = await Promise.all(['ws', 'tcp', 'unix'].map(async transport => {
      const running = await startSwitch(t, {
      accounts: [account('alice', limits), account('bob', { ...limits, asset: 'USD/6' })],
      assets
    })
      const url = ({ name, token }) => transport === 'unix'
        ? `btp+unix://${name}:${token}@${running.listen(transport)}`
        : `btp+${transport}://${name}:${token}@${running.listen(transport)}/`
      const [alice, bob] = running.accounts.map(url)
      const played = await play(t, 'm2-switch', alice, bob, RATE)
      const { alice: owed } = await running.balances()
      assert.ok(BigInt(owed) > 0n, 'money moved')
      return played
    }))
    for (const { status, report } of [ws, tcp, unix]) {
      assert.deepEqual([status, failed(report)], [0, []])
    }
    const notApplicable = ({ report }) => report.checks.filter(({ outcome }) => outcome === 'not_applicable')
    assert.equal(notApplicable(ws).length, 0)
    for (const run of [tcp, unix]) {
      assert.deepEqual(notApplicable(run).map(({ id }) => id), ['ws.ping', 'ws.fragments', 'ws.unmasked'])
    }
    await assertKept('m2-switch', ws)
  })

  test('m2-switch converts between two assets, and without a rate that is not judged', async t => {
    const running = await startSwitch(t, {
      accounts: [account('alice', limits), account('bob', { ...limits, asset: 'XRP/6' })],
      assets: [{ code: 'USD', scale: 9 }, { code: 'XRP', scale: 6 }],
      rates: [{ from: 'USD/9', to: 'XRP/6', rate: '2.5', spread_ppm: 0 }]
    })
    const [alice, bob] = running.accounts.map(({ name }) => running.url(name))
    const amounts = ['--only', 'forward.amount', '--only', 'forward.amount-exact']
    const came = ({ report }) => report.checks.map(({ outcome, came }) => [outcome, came])

    const judged = await play(t, 'm2-switch', alice, bob, [...amounts, '--rate', '1/400'])
    assert.deepEqual(came(judged), [
      ['passed', '1000000 arrives as 2500'],
      ['passed', '9007199254740993 arrives as 22517998136852']
    ])
    const untold = await play(t, 'm2-switch', alice, bob, amounts)
    const reason = 'the accounts have two assets, and no --rate says what one is worth'
    assert.deepEqual(came(untold), Array(2).fill(['not_applicable', reason]))
  })

  test('ilp-connector 23 fails what is written of it, and nothing else', async t => {
    const { alice, bob } = await startConnector(t)
    const played = await play(t, 'ilp-connector 23.0.2 with ilp-plugin-btp 1.5.0', alice, bob, RATE)
    assert.equal(played.status, 1)
    assert.deepEqual(failed(played.report), FAILED_BY_ILP_CONNECTOR)
    await assertKept('ilp-connector-23', played)
  })
})

test('the page says of both reports what they say', async () => {
  const page = await readFile(path.join(REPORTS, '..', 'conformance.md'), 'utf8')
  const kept = async name => JSON.parse(await readFile(path.join(REPORTS, `${name}.json`), 'utf8'))
  const ours = await kept('m2-switch')
  assert.ok(page.includes(`| ${ours.passed} | ${ours.failed} | ${ours.noted} |`))
  const theirs = await kept('ilp-connector-23')
  const { passed, failed: count, failed_must: must, noted } = theirs
  assert.ok(page.includes(`| ${passed} | ${count} (${must} must, ${count - must} should) | ${noted} |`))
  const told = page.slice(page.indexOf('What ilp-connector fails:'))
  for (const id of failed(theirs)) assert.ok(told.includes(`\`${id}\``), id)
})
