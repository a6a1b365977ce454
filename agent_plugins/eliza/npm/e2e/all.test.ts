/**
 * Real ElizaOS agents on a running engine: HYPERNODE_API_URL and HYPERNODE_API_KEY name it. A node must be online that
 * runs llm_inference and answers what it was asked, and the engine must be allowed to send webhooks to loopback.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import type { ActionResult, AgentRuntime, RouteResponse } from '@elizaos/core';
import mcp from '@elizaos/plugin-mcp';
import hypernode, { type HypernodeEvent } from '../src/index.js';
import { agent, message, say } from '../test/support/runtime.js';
import { Scripted } from './model.js';

const URL_ = process.env.HYPERNODE_API_URL ?? assert.fail('HYPERNODE_API_URL is not set');
const KEY = process.env.HYPERNODE_API_KEY ?? assert.fail('HYPERNODE_API_KEY is not set');

const ending: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const end of ending.reverse()) await end();
});

async function live(settings: Record<string, unknown>, plugins: Parameters<typeof agent>[1], model = new Scripted()): Promise<AgentRuntime> {
  const runtime = await agent({ HYPERNODE_API_URL: URL_, ...settings }, plugins, (prompt) => model.answer(prompt));
  ending.push(() => runtime.stop());
  return runtime;
}

async function act(runtime: AgentRuntime, name: string, text: string, options: object = {}): Promise<ActionResult> {
  const action = runtime.actions.find((one) => one.name === name) ?? assert.fail(name);
  return (await action.handler(runtime, message(runtime, text), undefined, { ...options })) as ActionResult;
}

/** Resolves with the first event of the type that `wanted` accepts. */
function event(runtime: AgentRuntime, type: string, wanted: (event: HypernodeEvent) => boolean): Promise<HypernodeEvent> {
  return new Promise((resolve) => {
    runtime.registerEvent(type, async (found: unknown) => {
      if (wanted(found as HypernodeEvent)) resolve(found as HypernodeEvent);
    });
  });
}

async function api(path: string, body?: object, method = 'POST'): Promise<Record<string, unknown>> {
  const answer = await fetch(`${URL_}${path}`, {
    method,
    headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const found = (await answer.json()) as Record<string, unknown>;
  assert.ok(answer.ok, JSON.stringify(found));
  return found;
}

/** Its jobs of this model: each test has a model of its own. */
async function completed(model: string): Promise<Record<string, unknown>> {
  const { jobs } = (await api('/v1/jobs?limit=200', undefined, 'GET')) as { jobs: { job_id: string }[] };
  const whole = await Promise.all(jobs.map((job) => api(`/v1/jobs/${job.job_id}`, undefined, 'GET')));
  const [only, ...more] = whole.filter((job) => job.model === model);
  assert.ok(only && more.length === 0, `${1 + more.length} jobs of ${model}`);
  assert.equal(only.state, 'completed');
  return only;
}

describe('plugin-hypernode', () => {
  test('submits, waits and tells the result, in one shot', async () => {
    const runtime = await live({ secrets: { HYPERNODE_API_KEY: KEY } }, [hypernode]);
    const answers = await say(runtime, 'Run model one-shot with the prompt <What is two plus two?>', false);
    const job = await completed('one-shot');
    assert.match(answers.join('\n'), new RegExp(`Job ${job.job_id} is completed.*What is two plus two`, 's'));
  });

  test('does so in steps', async () => {
    const runtime = await live({ secrets: { HYPERNODE_API_KEY: KEY } }, [hypernode]);
    const answers = await say(runtime, 'Run model in-steps with the prompt <Name a prime.>', true);
    const job = await completed('in-steps');
    assert.match(answers.at(-1) ?? '', new RegExp(`${job.job_id}.*Name a prime`, 's'));
  });

  test('makes one job of one message, and is told of its end', async () => {
    const runtime = await live({ secrets: { HYPERNODE_API_KEY: KEY } }, [hypernode]);
    await runtime.getServiceLoadPromise('hypernode' as never);
    const action = runtime.actions.find((one) => one.name === 'SUBMIT_JOB') ?? assert.fail();
    const asked = message(runtime, 'go');
    const ended = new Map<unknown, HypernodeEvent[]>();
    const over = event(runtime, 'HYPERNODE_JOB_COMPLETED', (one) => {
      ended.set(one.payload.jobId, [...(ended.get(one.payload.jobId) ?? []), one]);
      return one.payload.type === 'llm_inference';
    });
    const options = { params: { type: 'llm_inference', model: 'told', prompt: 'hello' } } as never;
    const [first, again] = [await action.handler(runtime, asked, undefined, options), await action.handler(runtime, asked, undefined, options)];
    assert.equal((again as ActionResult).values?.jobId, (first as ActionResult).values?.jobId);
    await over;
    const status = await act(runtime, 'JOB_STATUS', `How is ${(first as ActionResult).values?.jobId}?`);
    assert.equal(status.values?.jobState, 'completed');
    assert.equal(ended.get((first as ActionResult).values?.jobId)?.length, 1);
  });

  test('knows its open jobs, and cancels one by its id', async () => {
    const runtime = await live({ secrets: { HYPERNODE_API_KEY: KEY }, HYPERNODE_EVENTS: 'false' }, [hypernode]);
    const wanted = { type: 'llm_inference', model: 'nowhere', gpu_models: ['No such GPU'], prompt: 'wait' };
    const id = (await act(runtime, 'SUBMIT_JOB', 'go', wanted)).values?.jobId as string;
    const provider = runtime.providers.find((one) => one.name === 'HYPERNODE_JOBS') ?? assert.fail();
    const told = await provider.get(runtime, message(runtime, 'hi'), { values: {}, data: {}, text: '' });
    assert.match(told.text ?? '', new RegExp(`${id}: llm_inference, pending`));
    const refused = await act(runtime, 'CANCEL_JOB', 'Cancel my job.');
    assert.equal((refused.data?.problem as { field: string }).field, 'job_id');
    assert.equal((await act(runtime, 'CANCEL_JOB', `Cancel ${id}.`)).values?.jobState, 'cancelled');
  });

  test('asks for nodes and prices, and shows what the engine refuses', async () => {
    const runtime = await live({ secrets: { HYPERNODE_API_KEY: KEY }, HYPERNODE_EVENTS: 'false' }, [hypernode]);
    const free = await act(runtime, 'CHECK_AVAILABILITY', 'go', { type: 'llm_inference' });
    assert.match(free.text ?? '', /nodes that suit are free now/);
    const price = await act(runtime, 'QUOTE', 'go', { type: 'llm_inference', duration_s: 600 });
    assert.match(price.text ?? '', /^600 s would cost about [0-9.]+ HYPER/);
    const unknown = await act(runtime, 'JOB_STATUS', 'How is job_00000000000000000000000000?');
    assert.equal((unknown.data?.problem as { status: number }).status, 404);
    const wrong = await act(runtime, 'QUOTE', 'go', { type: 'llm_inference', max_price_per_gpu_hour_hyper: 'cheap' });
    assert.equal((wrong.data?.problem as { status: number; field: string }).field, 'max_price_per_gpu_hour_hyper');
    const stranger = await live({ secrets: { HYPERNODE_API_KEY: 'hae_wrong' }, HYPERNODE_EVENTS: 'false' }, [hypernode]);
    const denied = await act(stranger, 'QUOTE', 'go', { type: 'render' });
    assert.equal((denied.data?.problem as { code: string }).code, 'unauthorised');
  });
});

describe('a signed webhook', () => {
  test('brings the end of a job to the agent, which reads the result', async () => {
    let taken: [number, unknown] = [0, null];
    let runtime: AgentRuntime;
    // As ElizaOS's own server does: the body is parsed before the plugin sees it.
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const route = runtime.routes.find((one) => one.type === request.method && one.path === request.url?.split('?')[0]);
      const adapted = {
        status: (code: number) => ((response.statusCode = code), adapted),
        json: (data: unknown) => ((taken = [response.statusCode, data]), response.end(JSON.stringify(data)), adapted),
        send: (data: unknown) => (response.end(String(data)), adapted),
        end: () => (response.end(), adapted),
      } as unknown as RouteResponse;
      const body = JSON.parse(Buffer.concat(chunks).toString());
      await route?.handler?.({ body, headers: request.headers, method: 'POST' }, adapted, runtime);
    });
    const port = await listening(server);
    const hook = await api('/v1/hooks', { url: `http://127.0.0.1:${port}/hypernode/webhook`, kinds: ['job_completed'] });
    const secrets = { HYPERNODE_API_KEY: KEY, HYPERNODE_WEBHOOK_SECRET: hook.secret };
    runtime = await live({ secrets, HYPERNODE_EVENTS: 'false' }, [hypernode]);
    const submitted = await act(runtime, 'SUBMIT_JOB', 'go', { type: 'llm_inference', model: 'hooked', prompt: 'by webhook' });
    const id = submitted.values?.jobId;
    const over = await event(runtime, 'HYPERNODE_JOB_COMPLETED', (one) => one.payload.jobId === id);
    assert.equal(over.payload.position, 0);
    assert.deepEqual(taken, [200, { received: true }]);
    const result = await act(runtime, 'JOB_STATUS', over.text);
    assert.match(result.text ?? '', /is completed.*by webhook/s);
    await api(`/v1/hooks/${hook.hook_id}`, undefined, 'DELETE');
  });
});

describe('plugin-mcp, without code', () => {
  const servers: Record<string, object> = JSON.parse(process.env.HYPERNODE_MCP_SERVERS ?? '{}');

  for (const [way, server] of Object.entries(servers)) {
    test(`submits, waits and tells the result over ${way}`, async () => {
      const runtime = await live({ mcp: { servers: { hypernode: server } } }, [mcp]);
      await runtime.getServiceLoadPromise('mcp' as never);
      const answers = await say(runtime, `Run model ${way} with the prompt <Name a colour.>`, true);
      const job = await completed(way);
      assert.match(answers.at(-1) ?? '', new RegExp(`${job.job_id}.*Name a colour`, 's'));
    });
  }
});

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ending.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

