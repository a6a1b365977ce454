/** Events in a real runtime: from the stream and by webhook; and the provider of open jobs. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { AgentRuntime, RouteRequest, RouteResponse } from '@elizaos/core';
import hypernode, { ANY_EVENT, EVENTS_MISSED, type HypernodeEvent, HypernodeService } from '../src/index.js';
import { Engine, sse } from './support/engine.js';
import { agent, message } from './support/runtime.js';

const KEY = { HYPERNODE_API_KEY: 'hae_secret' };
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OLDER = 'whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=';

let engine: Engine;
const running: AgentRuntime[] = [];

before(() => {
  HypernodeService.options = { firstPauseMs: 5 };
});
beforeEach(async () => {
  engine = await new Engine().start();
});
afterEach(async () => {
  for (const runtime of running.splice(0)) await runtime.stop();
  await engine.stop();
});
after(() => {
  HypernodeService.options = {};
});

async function started(settings: Record<string, unknown> = {}): Promise<AgentRuntime> {
  const runtime = await agent({ secrets: { ...KEY, HYPERNODE_WEBHOOK_SECRET: SECRET }, HYPERNODE_API_URL: engine.url, ...settings }, [
    hypernode,
  ]);
  running.push(runtime);
  return runtime;
}

/** What is emitted of a type, and a way to wait for so many of them. */
function listen(runtime: AgentRuntime, type: string = ANY_EVENT) {
  const heard: HypernodeEvent[] = [];
  let wake: () => void = () => {};
  runtime.registerEvent(type, async (event: unknown) => {
    heard.push(event as HypernodeEvent);
    wake();
  });
  const until = async (count: number): Promise<void> => {
    while (heard.length < count) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { heard, until };
}

/** Streams by their order; `latest` is the feed's end; afterwards streams stay silent. */
function feed(latest: number, ...streams: (string | { status: number; body: unknown })[]): string[] {
  const from: string[] = [];
  engine.answering = (asked, response) => {
    if (asked.headers.accept !== 'text/event-stream') return { body: { events: [], next_after: latest, latest } };
    from.push(String(asked.headers['last-event-id']));
    const next = streams.shift();
    if (typeof next === 'object') return next;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (next === undefined) response.write(': still here\r\n\r\n');
    else response.end(next);
  };
  return from;
}

describe('the stream', () => {
  test('is emitted, each event once, over lost connections', async () => {
    const from = feed(10, sse(11) + sse(12, 'job_completed', { data: { cost_hyper: '2.5' } }) + 'data: {"half', sse(12) + sse(13) + 'data: [1]\n\n', '');
    const runtime = await started();
    const all = listen(runtime);
    const completed = listen(runtime, 'HYPERNODE_JOB_COMPLETED');
    await all.until(3);
    await engine.until(5);
    assert.deepEqual(all.heard.map((one) => one.payload.position), [11, 12, 13]);
    assert.deepEqual(from.slice(0, 4), ['10', '12', '13', '13']);
    const { type, text, source, payload } = completed.heard[0] as HypernodeEvent;
    assert.deepEqual([type, source, text], ['HYPERNODE_JOB_COMPLETED', 'hypernode', 'Job completed of job_01jd3k5m7p9r1t3v5x7z9b1d3f.']);
    assert.deepEqual(payload, {
      cost_hyper: '2.5', position: 12, id: 'evt_12', at: '2026-11-26T01:02:03.004Z',
      jobId: 'job_01jd3k5m7p9r1t3v5x7z9b1d3f', nodeId: '',
    });
  });

  test('goes on although handlers fail', async () => {
    feed(0, sse(1) + sse(2));
    const runtime = await started();
    runtime.registerEvent('HYPERNODE_JOB_STARTED', async () => {
      throw new Error('the handler failed');
    });
    const all = listen(runtime);
    await all.until(2);
    assert.deepEqual(all.heard.map((one) => one.payload.id), ['evt_1', 'evt_2']);
  });

  test('goes on, after a restart of the agent, where it was', async () => {
    feed(20, sse(21));
    const first = await started();
    const { until } = listen(first);
    await until(1);
    await first.stop();
    const from = feed(30, sse(25));
    const service = await HypernodeService.start(first);
    await until(2);
    await service.stop();
    assert.equal(from[0], '21');
    assert.equal(service.position, 25);
    feed(3);
    const reset = await HypernodeService.start(first);
    await engine.until(engine.asked.length + 2);
    await reset.stop();
    assert.equal(reset.position, 3);
  });

  test('tells when events are gone, and goes on at the end', async () => {
    const from = feed(50, sse(51), { status: 410, body: { code: 'cursor_expired', detail: 'too old' } }, sse(52));
    const runtime = await started();
    const missed = listen(runtime, EVENTS_MISSED);
    const all = listen(runtime);
    await missed.until(1);
    await all.until(2);
    assert.deepEqual(missed.heard[0]?.payload, { after: 51 });
    assert.deepEqual(from.slice(0, 3), ['50', '51', '50']);
  });

  test('is begun again when the engine says nothing', async () => {
    HypernodeService.options = { firstPauseMs: 5, silenceMs: 30 };
    const from = feed(7);
    await started();
    await engine.until(6);
    HypernodeService.options = { firstPauseMs: 5 };
    assert.deepEqual(from.slice(0, 2), ['7', '7']);
  });

  test('is not read without a key, or when it is turned off', async () => {
    feed(7);
    const off = await started({ HYPERNODE_EVENTS: 'false' });
    const bare = await started({ secrets: {} });
    for (const runtime of [off, bare]) {
      const service = (await runtime.getServiceLoadPromise('hypernode' as never)) as HypernodeService;
      assert.equal(service.position, -1);
    }
    assert.equal(engine.asked.length, 0);
  });
});

describe('a webhook', () => {
  const BODY = {
    event: 'job_completed', job_id: 'job_abc123', node_id: 'node_xyz789', type: 'llm_inference', duration_ms: 5420,
    cost_hyper: 0.00005, cost: '0.00005', id: 'evt_1', at: '2026-11-26T01:02:03.004Z',
  };
  const AS_SENT = JSON.stringify(BODY).replace(':0.00005,', ':5e-05,');
  const NOW = 1_764_119_000;
  /** What the engine's own signing module says of AS_SENT, signed with both secrets. */
  const BY_THE_ENGINE = 'v1,xqvlWbRyG2oPHcB6og1gULry9q5o4zXIiy3z3z4xeW8= v1,GsOHOsuSvhJAaynOo91zkrZcykI+MdYawBHoIUNri5I=';

  async function post(runtime: AgentRuntime, body: unknown, headers: Record<string, string | string[]>): Promise<[number, unknown]> {
    const route = runtime.routes.find((one) => one.path === '/hypernode/webhook' && one.type === 'POST');
    let answered: [number, unknown] = [0, undefined];
    const response = {
      status: (code: number) => ((answered = [code, undefined]), response),
      json: (data: unknown) => ((answered = [answered[0], data]), response),
    } as unknown as RouteResponse;
    await route?.handler?.({ body, headers } as RouteRequest, response, runtime);
    return answered;
  }

  function signed(body: string, at = Date.now() / 1000, secret = SECRET, id = 'evt_1'): Record<string, string> {
    const timestamp = String(Math.floor(at));
    const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
    const mac = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64');
    return { 'Webhook-Id': id, 'Webhook-Timestamp': timestamp, 'Webhook-Signature': `v1a,zz v1,${mac}` };
  }

  test('is emitted once, with the amounts of the feed, as bytes, text or parsed', async () => {
    const runtime = await started({ HYPERNODE_EVENTS: false });
    const { heard, until } = listen(runtime, 'HYPERNODE_JOB_COMPLETED');
    for (const body of [BODY, AS_SENT, Buffer.from(AS_SENT), BODY]) {
      assert.deepEqual(await post(runtime, body, signed(AS_SENT)), [200, { received: true }]);
    }
    assert.equal((await post(runtime, { ...BODY, id: 'evt_2' }, signed(JSON.stringify({ ...BODY, id: 'evt_2' }))))[0], 200);
    await until(2);
    assert.deepEqual(heard.map((one) => one.payload), ['evt_1', 'evt_2'].map((id) => ({
      type: 'llm_inference', duration_ms: 5420, cost_hyper: '0.00005', position: 0, id,
      at: '2026-11-26T01:02:03.004Z', jobId: 'job_abc123', nodeId: 'node_xyz789',
    })));
  });

  test('that was told by the stream is not told again', async () => {
    feed(0, sse(1, 'job_started', { id: 'evt_1' }));
    const runtime = await started();
    const { heard, until } = listen(runtime);
    await until(1);
    assert.equal((await post(runtime, BODY, signed(AS_SENT)))[0], 200);
    assert.equal((await post(runtime, { ...BODY, id: 'evt_2' }, signed(AS_SENT.replace('evt_1', 'evt_2'))))[0], 200);
    await until(2);
    assert.deepEqual(heard.map((one) => one.payload.id), ['evt_1', 'evt_2']);
  });

  test('is refused unless it is signed, now, with the secret', async () => {
    const runtime = await started({ HYPERNODE_EVENTS: false });
    const { heard } = listen(runtime);
    const now = Date.now() / 1000;
    const right = signed(AS_SENT);
    const wrong: [unknown, Record<string, string | string[]>][] = [
      [{ ...BODY, cost: '5' }, right],
      [BODY, {}],
      [BODY, signed(AS_SENT, now - 301)],
      [BODY, signed(AS_SENT, now + 301)],
      [BODY, signed(AS_SENT, now, OLDER)],
      [BODY, { ...right, 'Webhook-Id': 'evt_2' }],
      [BODY, { ...right, 'Webhook-Timestamp': '1e9' }],
      [BODY, { ...right, 'Webhook-Signature': [String(right['Webhook-Signature'])] }],
      [BODY, { ...right, 'Webhook-Signature': 'v1,' }],
      [undefined, right],
    ];
    for (const [body, headers] of wrong) assert.equal((await post(runtime, body, headers))[0], 401, JSON.stringify(headers));
    assert.equal((await post(runtime, [1], signed('[1]')))[0], 400);
    assert.equal((await post(runtime, 'no json', signed('no json')))[0], 400);
    assert.deepEqual(heard, []);
    const bare = await started({ secrets: KEY, HYPERNODE_EVENTS: false });
    assert.equal((await post(bare, BODY, right))[0], 503);
  });

  test("may be signed with either secret while one is replaced, as the engine's own module signs", async (context) => {
    context.mock.timers.enable({ apis: ['Date'], now: NOW * 1000 });
    const headers = { 'webhook-id': 'evt_1', 'webhook-timestamp': String(NOW), 'webhook-signature': BY_THE_ENGINE };
    for (const secret of [SECRET, OLDER, `whsec_bad ${OLDER}`]) {
      const runtime = await started({ secrets: { ...KEY, HYPERNODE_WEBHOOK_SECRET: secret }, HYPERNODE_EVENTS: false });
      assert.equal((await post(runtime, BODY, headers))[0], 200);
    }
  });
});

describe('the provider', () => {
  const job = (state: string) => ({ job_id: 'job_01jd3k5m7p9r1t3v5x7z9b1d3f', type: 'render', state, node_id: 'node_1' });

  async function told(runtime: AgentRuntime): Promise<string> {
    const provider = runtime.providers.find((one) => one.name === 'HYPERNODE_JOBS');
    const result = await provider?.get(runtime, message(runtime, 'hi'), { values: {}, data: {}, text: '' });
    return result?.text ?? assert.fail('no text');
  }

  test('tells of the open jobs, over pages, and remembers them for a while', async () => {
    const pages = [{ jobs: [], next_cursor: 'job_01jd3k5m7p9r1t3v5x7z9b1d3f' }, { jobs: [job('running')], next_cursor: '' }];
    engine.answering = () => ({ body: pages.shift() });
    const runtime = await started({ HYPERNODE_EVENTS: false });
    const text = '# Open jobs on the Hypernode network\n- job_01jd3k5m7p9r1t3v5x7z9b1d3f: render, running on node_1';
    assert.deepEqual([await told(runtime), await told(runtime)], [text, text]);
    assert.equal(engine.asked.length, 2);
    const states = new URL(engine.asked[0]?.path ?? '', engine.url).searchParams.getAll('state');
    assert.ok(states.includes('running') && !states.includes('completed'));
    assert.match(engine.asked[1]?.path ?? '', /cursor=job_01/);
  });

  test('says nothing when there is nothing, or the engine does not say', async () => {
    for (const answer of [{ body: { jobs: [], next_cursor: '' } }, { body: '<html>' }, { status: 500, body: {} }]) {
      engine.answering = () => answer;
      assert.equal(await told(await started({ HYPERNODE_EVENTS: false })), '');
    }
    assert.equal(await told(await started({ HYPERNODE_API_URL: 'nowhere' })), '');
    assert.equal(await told(await started({ secrets: {} })), '');
    assert.equal(engine.asked.length, 3);
  });

  test('reads anew after an event of a job', async () => {
    const runtime = await started({ HYPERNODE_EVENTS: false });
    engine.answering = () => ({ body: { jobs: [job('running')], next_cursor: '' } });
    assert.match(await told(runtime), /running/);
    engine.answering = (asked, response) => {
      if (asked.path.startsWith('/v1/jobs')) return { body: { jobs: [job('cancelling')], next_cursor: '' } };
      if (asked.headers.accept !== 'text/event-stream') return { body: { events: [], next_after: 0, latest: 0 } };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(sse(1));
    };
    const all = listen(runtime);
    runtime.setSetting('HYPERNODE_EVENTS', 'true');
    const service = await HypernodeService.start(runtime);
    await all.until(1);
    await service.stop();
    assert.match(await told(runtime), /cancelling/);
  });
});
