/** The actions in a real runtime, against an engine that answers as told. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { ActionResult, AgentRuntime, HandlerOptions, Memory, State } from '@elizaos/core';
import hypernode from '../src/index.js';
import { ACTIONS } from '../src/tools.js';
import { Engine } from './support/engine.js';
import { agent, message, type Model } from './support/runtime.js';

const ID = 'job_01jd3k5m7p9r1t3v5x7z9b1d3f';
const OTHER = 'job_01jd3k5m7p9r1t3v5x7z9b1d3g';
const WANTED = { type: 'llm_inference', model: 'qwen-7b', prompt: 'Explain quantum computing' };
const SUBMITTED = { job_id: ID, state: 'pending', created: true, requirements_hash: 'ab', next_action: 'Wait.' };
const JOB = { ...SUBMITTED, type: 'llm_inference', reason: '', version: 2, attempt: 1, final: false };

let engine: Engine;
let runtime: AgentRuntime;
let model: Model;
const prompts: string[] = [];

before(async () => {
  engine = await new Engine().start();
  runtime = await agent(
    { secrets: { HYPERNODE_API_KEY: 'hae_secret' }, HYPERNODE_API_URL: `${engine.url}/v1/`, HYPERNODE_EVENTS: false },
    [hypernode],
    (prompt) => {
      prompts.push(prompt);
      return model(prompt);
    },
  );
});
after(async () => {
  await runtime.stop();
  await engine.stop();
});
beforeEach(() => {
  engine.asked.length = 0;
  prompts.length = 0;
  engine.answering = () => ({ body: SUBMITTED });
  model = () => assert.fail('the model was not to be asked');
});

async function act(
  name: keyof typeof ACTIONS,
  options?: Record<string, unknown>,
  given: Memory | string = 'go',
  state?: State,
): Promise<ActionResult> {
  const action = runtime.actions.find((one) => one.name === name);
  assert.ok(action);
  const memory = typeof given === 'string' ? message(runtime, given) : given;
  const result = await action.handler(runtime, memory, state, options as HandlerOptions | undefined);
  assert.ok(result);
  return result;
}

function problem(result: ActionResult): Record<string, unknown> {
  assert.equal(result.success, false);
  assert.ok(typeof result.error === 'string' && result.text);
  return result.data?.problem as Record<string, unknown>;
}

function refusedField(result: ActionResult): unknown {
  const found = problem(result);
  assert.equal(found.code, 'invalid_input');
  assert.match(String(found.next_action), /^A valid example: \{"/);
  return found.field;
}

describe('every action', () => {
  test('is there, described, with similes and examples of its own', async () => {
    const ours = runtime.actions.filter((one) => one.name in ACTIONS);
    assert.deepEqual(ours.map((one) => one.name).sort(), Object.keys(ACTIONS).sort());
    const names = ours.flatMap((one) => [one.name, ...(one.similes ?? [])]);
    assert.equal(new Set(names).size, names.length);
    for (const one of ours) {
      assert.ok(one.description.length > 20 && (one.similes?.length ?? 0) >= 3);
      assert.ok(one.examples?.every((talk) => talk.at(-1)?.content.actions?.includes(one.name)), one.name);
      assert.equal(await one.validate(runtime, message(runtime, 'go')), true);
    }
  });

  test('is not offered, and says what to do, without a key', async () => {
    const bare = await agent({}, [hypernode]);
    try {
      const action = bare.actions.find((one) => one.name === 'SUBMIT_JOB');
      assert.equal(await action?.validate(bare, message(bare, 'go')), false);
      const result = await action?.handler(bare, message(bare, 'go'), undefined, { params: WANTED } as HandlerOptions);
      assert.equal(problem(result as ActionResult).field, 'HYPERNODE_API_KEY');
    } finally {
      await bare.stop();
    }
  });

  test('takes nothing that its tool does not take', async () => {
    for (const name of Object.keys(ACTIONS) as (keyof typeof ACTIONS)[]) {
      assert.equal(refusedField(await act(name, { params: { ...ACTIONS[name].example, colour: 'red' } })), 'colour');
    }
    assert.equal(engine.asked.length, 0);
  });

  test('survives a callback that fails', async () => {
    const action = runtime.actions.find((one) => one.name === 'SUBMIT_JOB');
    const result = await action?.handler(runtime, message(runtime, 'go'), undefined, { ...WANTED }, async () => {
      throw new Error('away');
    });
    assert.equal((result as ActionResult).success, true);
  });
});

describe('SUBMIT_JOB', () => {
  test('sends what the options say, under a key that a repeated run shares', async () => {
    const one = message(runtime, 'go');
    const options = { params: { type: 'llm_inference', minVramGb: 16, gpuModels: ['A100'] } };
    const result = await act('SUBMIT_JOB', options, one);
    await act('SUBMIT_JOB', options, one);
    await act('SUBMIT_JOB', options, message(runtime, 'go'));
    const [first, again, other] = engine.asked;
    assert.equal(first?.path, '/v1/tools/submit_job');
    assert.equal(first?.headers.authorization, 'Bearer hae_secret');
    const { idempotency_key: key, ...sent } = first?.body ?? {};
    assert.deepEqual(sent, { type: 'llm_inference', min_vram_gb: 16, gpu_models: ['A100'] });
    assert.equal(again?.body.idempotency_key, key);
    assert.notEqual(other?.body.idempotency_key, key);
    assert.deepEqual(result.values, { jobId: ID, jobState: 'pending' });
    assert.deepEqual(result.data, { actionName: 'SUBMIT_JOB', tool: 'submit_job', answer: SUBMITTED });
    assert.match(result.text ?? '', new RegExp(ID));
  });

  test('names the field that is missing, wrong or given twice', async () => {
    assert.equal(refusedField(await act('SUBMIT_JOB', { params: { model: 'qwen-7b' } })), 'type');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, type: 'mining' })), 'type');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, gpus: '2' })), 'gpus');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, gpus: 1.5 })), 'gpus');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, priority: 99 })), 'priority');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, gpu_models: ['A100', 7] })), 'gpu_models[1]');
    assert.equal(refusedField(await act('SUBMIT_JOB', { ...WANTED, minVramGb: 1, min_vram_gb: 2 })), 'min_vram_gb');
    assert.equal(engine.asked.length, 0);
  });

  test('reads the message with the model, held against the schema', async () => {
    model = () => `Here it is:\n\`\`\`json\n${JSON.stringify({ ...WANTED, region: null })}\n\`\`\``;
    assert.equal((await act('SUBMIT_JOB', undefined, 'Ask qwen-7b to "explain" quantum computing')).success, true);
    const { idempotency_key: _, ...sent } = engine.asked[0]?.body ?? {};
    assert.deepEqual(sent, WANTED);
    assert.match(prompts[0] ?? '', /"Ask qwen-7b to \\"explain\\" quantum computing"/);
    assert.match(prompts[0] ?? '', /llm_fine_tuning/);
  });

  test('tells the model once what was wrong, and then gives up', async () => {
    const answers = [{ type: 'mining' }, WANTED];
    model = () => JSON.stringify(answers.shift());
    assert.equal((await act('SUBMIT_JOB', undefined, 'Ask qwen-7b')).success, true);
    assert.match(prompts[1] ?? '', /refused: type must be one of/);
    model = () => JSON.stringify({ ...WANTED, colour: 'red' });
    assert.equal(refusedField(await act('SUBMIT_JOB', undefined, 'Ask qwen-7b')), 'colour');
    model = () => 'I would rather not.';
    assert.equal(refusedField(await act('SUBMIT_JOB', undefined, 'Ask qwen-7b')), 'type');
    assert.deepEqual([engine.asked.length, prompts.length], [1, 6]);
  });

  test('says so when there is nothing to read, or the model fails', async () => {
    assert.equal(refusedField(await act('SUBMIT_JOB', undefined, '  ')), 'type');
    model = () => {
      throw new Error('out of tokens');
    };
    const found = problem(await act('SUBMIT_JOB', undefined, 'Ask qwen-7b'));
    assert.deepEqual([found.code, found.retryable], ['model_failed', true]);
  });

  test("uses a multi-step run's parameters for this action, once", async () => {
    const state: State = { values: {}, text: '', data: { submitjob: { ...WANTED, _source: 'multiStepDecisionTemplate' } } };
    const memory = message(runtime, 'again');
    assert.equal((await act('SUBMIT_JOB', undefined, memory, state)).success, true);
    model = () => '{}';
    assert.equal(refusedField(await act('SUBMIT_JOB', undefined, memory, state)), 'type');
    const leaked: State = { values: {}, text: '', data: { actionParams: WANTED, quote: WANTED } };
    assert.equal(refusedField(await act('SUBMIT_JOB', undefined, memory, leaked)), 'type');
    assert.equal(engine.asked.length, 1);
  });
});

describe('an engine that fails', () => {
  test('is a result with its problem', async () => {
    const told = {
      type: '/problems/budget-exceeded', title: 'Budget exceeded', status: 402, code: 'budget_exceeded',
      detail: 'it would cost 3 HYPER, and 2 are left', retryable: false, retry_after: null, next_action: 'Ask for less.',
      figures: { left_hyper: '2' },
    };
    engine.answering = () => ({ status: 402, body: told });
    const result = await act('SUBMIT_JOB', WANTED);
    assert.deepEqual(problem(result), { ...told, field: '' });
    assert.equal(result.text, 'SUBMIT_JOB failed: it would cost 3 HYPER, and 2 are left. Ask for less.');
    assert.equal(engine.asked.length, 1);
  });

  test('is asked again, with the same key, when that may help', async () => {
    const body = { code: 'unavailable', detail: 'away', retryable: true, retry_after: 0.1 };
    engine.answering = () => (engine.asked.length < 2 ? { status: 503, body } : { body: SUBMITTED });
    assert.equal((await act('SUBMIT_JOB', WANTED)).success, true);
    assert.equal(engine.asked[0]?.body.idempotency_key, engine.asked[1]?.body.idempotency_key);
    engine.asked.length = 0;
    engine.answering = () => ({ status: 429, body: { ...body, retry_after: 3600 } });
    assert.equal(problem(await act('SUBMIT_JOB', WANTED)).retry_after, 3600);
    assert.equal(engine.asked.length, 1);
  });

  test('may answer nonsense', async () => {
    const nonsense = ['<html>', '[]', 'null', '', '{"job_id": "job_1"}'];
    for (const body of nonsense) {
      engine.answering = () => ({ body });
      assert.equal(problem(await act('SUBMIT_JOB', WANTED)).code, 'bad_answer', body);
    }
    engine.answering = () => ({ status: 418, body: '<html>' });
    assert.equal(problem(await act('SUBMIT_JOB', WANTED)).code, 'http_418');
    assert.equal(engine.asked.length, nonsense.length + 1);
  });

  test('may send the key elsewhere, or hang up', async () => {
    engine.answering = () => ({ status: 307, headers: { location: '/elsewhere' }, body: '' });
    assert.equal(problem(await act('QUOTE', { type: 'render' })).code, 'unreachable');
    assert.ok(engine.asked.every((one) => one.path === '/v1/tools/quote'));
    engine.answering = (_, response) => void response.destroy();
    const found = problem(await act('QUOTE', { type: 'render' }));
    assert.deepEqual([found.code, found.retryable], ['unreachable', true]);
  });
});

describe('actions about a job', () => {
  beforeEach(() => {
    engine.answering = () => ({ body: JOB });
  });

  test('find its id in the message, the options or the step before', async () => {
    await act('JOB_STATUS', undefined, `How is ${ID}?`);
    await act('JOB_STATUS', { jobId: OTHER }, `How is ${ID}?`);
    const before = { success: true, values: { jobId: OTHER } };
    await act('WAIT_FOR_JOB', { actionContext: { previousResults: [before, { success: false }] } }, 'Wait for it');
    assert.deepEqual(engine.asked.map((one) => [one.path, one.body.job_id]), [
      ['/v1/tools/get_job', ID],
      ['/v1/tools/get_job', OTHER],
      [`/v1/tools/${ACTIONS.WAIT_FOR_JOB.tool}`, OTHER],
    ]);
  });

  test('never guess it', async () => {
    const state: State = { values: { jobId: ID }, text: ID, data: { actionParams: { job_id: ID } } };
    assert.equal(refusedField(await act('JOB_STATUS', undefined, 'How is it?', state)), 'job_id');
    assert.equal(refusedField(await act('WAIT_FOR_JOB', undefined, `${ID} or ${OTHER}?`)), 'job_id');
    assert.equal(engine.asked.length, 0);
  });

  test('wait 45 s at most', async () => {
    assert.equal(refusedField(await act('WAIT_FOR_JOB', { job_id: ID, wait_s: 60 })), 'wait_s');
    assert.equal((await act('WAIT_FOR_JOB', { job_id: ID, wait_s: 45 })).success, true);
    assert.deepEqual(engine.asked.map((one) => one.body), [{ job_id: ID, wait_s: 45 }]);
  });

  test('tell the result, or what went wrong', async () => {
    engine.answering = () => ({ body: { ...JOB, state: 'completed', final: true, result: { text: 'four' }, cost_hyper: '0.5' } });
    const done = await act('JOB_STATUS', { job_id: ID });
    assert.equal(done.text, `Job ${ID} is completed for 0.5 HYPER. Result: {"text":"four"}`);
    assert.deepEqual(done.values, { jobId: ID, jobState: 'completed', jobFinal: true, costHyper: '0.5' });
    engine.answering = () => ({ body: { ...JOB, state: 'failed', final: true, error: 'out of memory' } });
    assert.equal((await act('JOB_STATUS', { job_id: ID })).text, `Job ${ID} is failed: out of memory`);
  });
});

describe('CANCEL_JOB', () => {
  beforeEach(() => {
    engine.answering = () => ({ body: { ...JOB, state: 'cancelled', final: true } });
  });

  test('takes an id from the message or the options', async () => {
    assert.equal((await act('CANCEL_JOB', undefined, `Cancel ${ID}`)).success, true);
    assert.equal((await act('CANCEL_JOB', { params: { jobId: OTHER } })).success, true);
    assert.deepEqual(engine.asked.map((one) => one.body), [{ job_id: ID }, { job_id: OTHER }]);
  });

  test('takes it from nowhere else', async () => {
    const earlier = { actionContext: { previousResults: [{ success: true, values: { jobId: ID } }] } };
    const state: State = { values: { jobId: ID }, text: ID, data: { canceljob: { job_id: ID }, actionParams: { job_id: ID } } };
    assert.equal(refusedField(await act('CANCEL_JOB', earlier, 'Cancel it', state)), 'job_id');
    assert.equal(refusedField(await act('CANCEL_JOB', undefined, `Cancel ${ID} or ${OTHER}`)), 'job_id');
    assert.equal(engine.asked.length, 0);
  });
});
