/** The engine's HTTP API, as far as agents need it, over `fetch`. Every failure is a ProblemError. */
import { endingAfter } from './ending.js';
import { isObject, messageOf, problem, ProblemError, problemFrom } from './problems.js';
import { chunks } from './sse.js';

/** A job as lists show it; empty strings stand for what is not there yet. */
export interface Job {
  job_id: string;
  type: string;
  state: string;
  final: boolean;
  node_id: string;
  cost_hyper: string;
  error: string;
  [more: string]: unknown;
}

export interface JobPage {
  jobs: Job[];
  next_cursor: string;
}

/** An event at its `position` in the account's feed. */
export interface FeedEvent {
  position: number;
  id: string;
  kind: string;
  at: string;
  job_id: string;
  node_id: string;
  data: Record<string, unknown>;
}

export interface FeedPage {
  events: FeedEvent[];
  next_after: number;
  latest: number;
}

/** `pausesMs`: how long to wait before each further try of a request that may be sent again. */
export interface ClientOptions {
  url: string;
  apiKey: string;
  timeoutMs?: number;
  pausesMs?: readonly number[];
  fetch?: typeof fetch;
}

interface Sent {
  method?: 'GET' | 'POST';
  body?: unknown;
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
  retries?: boolean;
  requires?: readonly string[];
}

const LONGEST_PAUSE_MS = 5_000;

export class HypernodeClient {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #timeoutMs: number;
  readonly #pausesMs: readonly number[];
  readonly #fetch: typeof fetch;

  constructor(options: ClientOptions) {
    this.#url = options.url;
    this.#headers = { authorization: `Bearer ${options.apiKey}`, 'user-agent': 'plugin-hypernode/1.0.0' };
    this.#timeoutMs = options.timeoutMs ?? 15_000;
    this.#pausesMs = options.pausesMs ?? [250, 1_000];
    this.#fetch = options.fetch ?? fetch;
  }

  /**
   * Call a tool; its output. It must be safe to call it twice: after a lost connection, or a problem that says it may
   * be tried again soon, it is. `requires`: members that the output must have.
   */
  async call(
    tool: string,
    input: Readonly<Record<string, unknown>>,
    options: { timeoutMs?: number; requires?: readonly string[] } = {},
  ): Promise<Record<string, unknown>> {
    return this.#send(`/v1/tools/${encodeURIComponent(tool)}`, { method: 'POST', body: input, retries: true, ...options });
  }

  /** Jobs in any of these states, newest first. */
  async jobs(states: readonly string[], limit: number, cursor = '', timeoutMs?: number): Promise<JobPage> {
    const query = new URLSearchParams(states.map((state): [string, string] => ['state', state]));
    query.set('limit', String(limit));
    if (cursor) query.set('cursor', cursor);
    const page = await this.#send(`/v1/jobs?${query}`, { requires: ['jobs', 'next_cursor'], timeoutMs });
    if (!Array.isArray(page.jobs) || !page.jobs.every(isObject)) throw badAnswer('jobs is no list of jobs');
    return page as unknown as JobPage;
  }

  /** A page of the feed behind a position. */
  async events(after: number | 'latest', limit: number, signal?: AbortSignal): Promise<FeedPage> {
    const page = await this.#send(`/v1/events?after=${after}&limit=${limit}`, {
      requires: ['events', 'next_after', 'latest'],
      signal,
    });
    if (typeof page.latest !== 'number' || typeof page.next_after !== 'number') throw badAnswer('latest is no number');
    return page as unknown as FeedPage;
  }

  /** The feed as server-sent events, from behind a position on; it lives until `signal` ends it. */
  async stream(after: number, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const headers = { ...this.#headers, accept: 'text/event-stream', 'last-event-id': String(after) };
    const answer = await this.#fetch(`${this.#url}/v1/events`, { headers, signal, redirect: 'error' }).catch(unreachable);
    if (!answer.ok || !answer.body) throw new ProblemError(await refused(answer, signal));
    if (!(answer.headers.get('content-type') ?? '').startsWith('text/event-stream')) {
      await answer.body.cancel();
      throw badAnswer('the engine answered no event stream');
    }
    return answer.body;
  }

  async #send(path: string, sent: Sent): Promise<Record<string, unknown>> {
    const pauses = sent.retries ? this.#pausesMs : [];
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#once(path, sent);
      } catch (thrown) {
        const pause = pauses[attempt];
        const wanted = thrown instanceof ProblemError ? pauseFor(thrown, pause) : null;
        if (wanted === null) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, wanted));
      }
    }
  }

  async #once(path: string, sent: Sent): Promise<Record<string, unknown>> {
    const ending = endingAfter(sent.timeoutMs ?? this.#timeoutMs, sent.signal);
    try {
      return await this.#answer(path, sent, ending.signal);
    } finally {
      ending.done();
    }
  }

  async #answer(path: string, sent: Sent, signal: AbortSignal): Promise<Record<string, unknown>> {
    // A redirect would carry the key to somebody else.
    const init: RequestInit = { method: sent.method ?? 'GET', headers: this.#headers, signal, redirect: 'error' };
    if (sent.body !== undefined) {
      init.headers = { ...this.#headers, 'content-type': 'application/json' };
      init.body = JSON.stringify(sent.body);
    }
    const answer = await this.#fetch(`${this.#url}${path}`, init).catch(unreachable);
    if (!answer.ok) throw new ProblemError(await refused(answer, signal));
    const body = parsed(await textOf(answer, signal).catch(unreachable));
    if (!isObject(body)) throw badAnswer('the engine answered no JSON object');
    const missing = sent.requires?.find((name) => body[name] === undefined);
    if (missing !== undefined) throw badAnswer(`the engine's answer has no ${missing}`);
    return body;
  }
}

function pauseFor(thrown: ProblemError, pause: number | undefined): number | null {
  const { retryable, retry_after: after, code } = thrown.problem;
  // Who has waited in vain once does not wait as long again.
  if (pause === undefined || !retryable || code === 'timeout') return null;
  const wanted = Math.max(pause, (after ?? 0) * 1_000);
  return wanted <= LONGEST_PAUSE_MS ? wanted : null;
}

function unreachable(thrown: unknown): never {
  const timeout = thrown instanceof Error && thrown.name === 'TimeoutError';
  throw new ProblemError(
    problem(timeout ? 'timeout' : 'unreachable', `the engine does not answer: ${messageOf(thrown)}`, {
      retryable: true,
      next_action: 'Try again in a moment; if it stays, check HYPERNODE_API_URL.',
    }),
  );
}

async function textOf(answer: Response, signal: AbortSignal): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  if (answer.body) for await (const chunk of chunks(answer.body, signal)) text += decoder.decode(chunk, { stream: true });
  if (signal.aborted) throw signal.reason;
  return text + decoder.decode();
}

async function refused(answer: Response, signal: AbortSignal): Promise<ReturnType<typeof problemFrom>> {
  const body = parsed(await textOf(answer, signal).catch(() => ''));
  return problemFrom(body, answer.status, answer.headers.get('retry-after'));
}

function badAnswer(detail: string): ProblemError {
  return new ProblemError(
    problem('bad_answer', detail, { next_action: 'Check that HYPERNODE_API_URL is the address of an engine.' }),
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
