// What m2-load writes of its figures, read by tools that none of us wrote: HdrHistogram's in its
// JavaScript edition, and a validator of JSON Schema.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'

import Ajv from 'ajv/dist/2020.js'
import * as hdr from 'hdr-histogram-js'

import { account, startSwitch } from './switch.mjs'

const BINARY = process.env.M2_LOAD ?? '../debug/m2-load'
const REPORTS = process.env.M2_REPORTS ?? '../../docs/conformance'
const SCHEMAS = path.join(REPORTS, '../schemas')
const execute = promisify(execFile)
/** What a command prints: the report is there whatever it says of the run. */
const run = (binary, words) => execute(binary, words).catch(error => error)

/** A real switch, and a workload of two seconds through it. */
async function start (t) {
  const running = await startSwitch(t, { accounts: [account('alice'), account('bob')] })
  const end = (name, role) => `[[ends]]
name = "${name}"
url = "btp+tcp://${name}@${running.listen('tcp')}"
token = "${running.accounts.find(account => account.name === name).token}"
role = "${role}"
asset = "USD/9"
address = "test.m2m.${name}"
`
  const workload = path.join(running.folder, 'workload.toml')
  await writeFile(workload, `seed = 7
seconds = 2
rate_per_s = 2000
[mix]
fulfilled = 900
rejected = 100
${end('alice', 'send')}
${end('bob', 'receive')}
[[flows]]
from = "alice"
to = "bob"
`)
  return { running, workload }
}

/** A run; its report, and what it wrote beside it. */
async function load (t) {
  const { running, workload } = await start(t)
  const file = name => path.join(running.folder, name)
  const { stdout } = await run(BINARY, [
    'run', '--workload', workload, '--control-socket', running.controlSocket, '--json', '--quiet',
    '--target-pid', String(running.child.pid), '--require', 'loss=0,p99<60s',
    '--hgrm', file('run.hgrm'), '--interval-log', file('run.hlog')
  ])
  const read = name => readFile(file(name), 'utf8')
  return {
    report: JSON.parse(stdout),
    hgrm: { scheduled: await read('run.hgrm'), service: await read('run.service.hgrm') },
    log: await read('run.hlog')
  }
}

/** All intervals of a log under one tag, in one histogram. */
function sumOf (log, tag) {
  const reader = new hdr.HistogramLogReader(log)
  const sum = hdr.build({ highestTrackableValue: 600e9, numberOfSignificantValueDigits: 3, bitBucketSize: 64 })
  const intervals = []
  for (let next; (next = reader.nextIntervalHistogram()) != null;) {
    if (next.tag !== tag) continue
    sum.add(next)
    intervals.push(next)
  }
  return { sum, intervals }
}

/** Rows of a percentile text: value and percentile, as the plotter reads them. */
const rows = text => text.split('\n')
  .map(line => line.trim().split(/ +/))
  .filter(words => words.length >= 3 && words.every(word => !isNaN(word)))
  .map(([value, percentile, count]) => [Number(value), Number(percentile), Number(count)])

test('HdrHistogram reads the interval log, and finds the counts and percentiles of the report', async t => {
  const { report, log } = await load(t)
  for (const [tag, figures] of [['scheduled', report.latency], ['service', report.service]]) {
    const { sum, intervals } = sumOf(log, tag)
    assert.equal(sum.totalCount, figures.count)
    assert.equal(figures.count, 4000)
    for (const [key, percentile] of [
      ['p50_ns', 50], ['p90_ns', 90], ['p99_ns', 99], ['p99_9_ns', 99.9], ['p99_99_ns', 99.99],
      ['p99_999_ns', 99.999], ['max_ns', 100]
    ]) {
      assert.equal(sum.getValueAtPercentile(percentile), figures[key], `${tag} ${key}`)
    }
    // Two whole seconds, and what was left.
    assert.ok(intervals.length >= 2, `${intervals.length} intervals`)
    const began = Date.parse(report.environment.started_at)
    assert.ok(Math.abs(intervals[0].startTimeStampMsec - began) < 60_000)
    assert.ok(intervals.every(interval => interval.totalCount <= 4000))
  }
})

test('the percentile text is the one that HdrHistogram writes', async t => {
  const { report, hgrm, log } = await load(t)
  for (const tag of ['scheduled', 'service']) {
    const { sum } = sumOf(log, tag)
    const theirs = sum.outputPercentileDistribution(5, 1000)
    assert.deepEqual(rows(hgrm[tag]), rows(theirs), tag)
    assert.ok(rows(theirs).length > 10)
    const last = rows(hgrm[tag]).at(-1)
    const figures = tag === 'service' ? report.service : report.latency
    assert.deepEqual(last, [figures.max_ns / 1000, 1, 4000])
  }
})

/** What a validator says of a report; a key that the schema does not name is a fault too. */
async function faultsOf (report, name) {
  const schema = JSON.parse(await readFile(path.join(SCHEMAS, `${name}.json`), 'utf8'))
  const close = node => {
    if (node === null || typeof node !== 'object') return
    if (node.properties) node.additionalProperties ??= false
    Object.values(node).forEach(close)
  }
  close(schema)
  const formats = { uint: true, uint16: true, uint32: true, uint64: true, int32: true, double: true }
  const ajv = new Ajv.default({ strict: true, strictTypes: false, allErrors: true, formats })
  const validate = ajv.compile(schema)
  return validate(report) ? [] : validate.errors.map(error => `${error.instancePath} ${error.message}`)
}

test('a real report fits its schema, and one with other keys, types or another name does not', async t => {
  const { report } = await load(t)
  assert.deepEqual(await faultsOf(report, 'm2-load.report'), [])
  assert.ok(report.target_process.threads.length > 0 && report.requirements.length === 2)
  for (const spoil of [
    report => { report.schema = 'm2-load.report/1' },
    report => { report.sent = '4000' },
    report => { report.sent = -1 },
    report => { report.latency.p50_us = 1 },
    report => { report.verdict = 'passed' },
    report => { delete report.environment.kernel }
  ]) {
    const spoilt = structuredClone(report)
    spoil(spoilt)
    assert.notDeepEqual(await faultsOf(spoilt, 'm2-load.report'), [], spoil.toString())
  }
})

test('the reports of calibrate, search and compare fit their schemas', async t => {
  const { workload } = await start(t)
  const reports = {
    calibrate: ['--transport', 'unix', '--seconds', '1'],
    search: ['--workload', workload, '--from', '100', '--to', '400', '--trial-seconds', '1', '--final-seconds', '1', '--quiet'],
    compare: [workload, workload, '--trials', '6', '--seconds', '1', '--rate', '500', '--quiet']
  }
  for (const [command, words] of Object.entries(reports)) {
    const { stdout } = await run(BINARY, [command, '--json', ...words])
    assert.deepEqual(await faultsOf(JSON.parse(stdout), `m2-load.${command}`), [], command)
  }
})

test('the reports of conformance that the pages keep fit their schema', async () => {
  for (const target of ['m2-switch', 'ilp-connector-23']) {
    const report = JSON.parse(await readFile(path.join(REPORTS, `${target}.json`), 'utf8'))
    assert.deepEqual(await faultsOf(report, 'm2-load.conformance'), [], target)
  }
})
