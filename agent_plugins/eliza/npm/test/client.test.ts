/** The client and the stream reader by themselves. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { HypernodeClient } from '../src/client.js';
import { endingAfter } from '../src/ending.js';
import { ProblemError } from '../src/problems.js';
import { messages, type SseMessage } from '../src/sse.js';
import { Engine } from './support/engine.js';

const REFUSED = (code: string) => (thrown: unknown) => thrown instanceof ProblemError && thrown.problem.code === code;

test('an engine that does not answer in time is a problem, and is not asked again', async () => {
  const engine = await new Engine().start();
  engine.answering = () => {};
  const client = new HypernodeClient({ url: engine.url, apiKey: 'k', timeoutMs: 40, pausesMs: [1, 1] });
  await assert.rejects(client.call('get_job', { job_id: 'job_1' }), REFUSED('timeout'));
  assert.equal(engine.asked.length, 1);
  await engine.stop();
});

test('an engine that is away is a problem after all tries', async () => {
  const engine = await new Engine().start();
  const { url } = engine;
  await engine.stop();
  let tries = 0;
  const counted: typeof fetch = (...given) => {
    tries += 1;
    return fetch(...given);
  };
  const client = new HypernodeClient({ url, apiKey: 'k', pausesMs: [1, 1], fetch: counted });
  await assert.rejects(client.call('get_job', { job_id: 'job_1' }), REFUSED('unreachable'));
  assert.equal(tries, 3);
});

test('a page that is none, or a stream that is none, is a problem', async () => {
  const engine = await new Engine().start();
  const client = new HypernodeClient({ url: engine.url, apiKey: 'k' });
  engine.answering = () => ({ body: { jobs: [1], next_cursor: '' } });
  await assert.rejects(client.jobs(['pending'], 5), REFUSED('bad_answer'));
  engine.answering = () => ({ body: { events: [], next_after: 1, latest: '1' } });
  await assert.rejects(client.events('latest', 1), REFUSED('bad_answer'));
  await assert.rejects(client.stream(1, new AbortController().signal), REFUSED('bad_answer'));
  await engine.stop();
});

test('a stream reads the same however its bytes are cut', async () => {
  const text = '\ufeff: hi\r\n\r\nid: 7\r\nevent: started\r\ndata: {"a":"ä€😀"}\r\n\r\ndata:one\ndata: two\n\nid\rdata\r\revent: x\n\ndata: cut off';
  const bytes = new TextEncoder().encode(text);
  const expected: SseMessage[] = [
    { id: '7', event: 'started', data: '{"a":"ä€😀"}' },
    { id: '7', event: 'message', data: 'one\ntwo' },
    { id: '', event: 'message', data: '' },
  ];
  for (let size = 1; size <= bytes.length; size += 1) {
    const found: SseMessage[] = [];
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    for await (const message of messages(stream)) found.push(message);
    assert.deepEqual(found, expected, `pieces of ${size}`);
  }
});

test('what ends a request is not collected as garbage before', { timeout: 60_000 }, async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const engine = await new Engine().start();
  engine.answering = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': hi\n\n');
  };
  const client = new HypernodeClient({ url: engine.url, apiKey: 'k' });
  const stopping = new AbortController();
  const { signal, later } = endingAfter(60_000, stopping.signal);
  const stream = await client.stream(1, signal);
  const read = (async () => {
    for await (const message of messages(stream, later, signal)) assert.fail(message.data);
  })();
  const timed = client.events('latest', 1, stopping.signal);
  await engine.until(2);
  for (let times = 0; times < 3; times += 1) collect();
  stopping.abort();
  await Promise.all([read.catch(() => {}), assert.rejects(timed, REFUSED('unreachable'))]);
  await engine.stop();
});
