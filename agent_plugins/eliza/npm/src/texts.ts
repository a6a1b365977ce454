/** What results say, for people and models to read. */
import type { Problem } from './problems.js';

type Answer = Readonly<Record<string, unknown>>;

const LONGEST = 2_000;

/** Told of an answer of each action. */
export const TEXTS: Readonly<Record<string, (answer: Answer) => string>> = {
  SUBMIT_JOB: (answer) =>
    answer.created === false
      ? `Job ${answer.job_id} was submitted before and is ${answer.state}.`
      : `Job ${answer.job_id} is submitted and ${answer.state}. Wait for it with WAIT_FOR_JOB.`,
  CHECK_AVAILABILITY: (answer) =>
    answer.matching
      ? `${answer.available_now} of ${answer.matching} nodes that suit are free now, with ${answer.free_slots} GPUs, ` +
        `from ${answer.cheapest_price_per_gpu_hour_hyper || '?'} HYPER per GPU-hour.`
      : `None of the ${answer.nodes_online} nodes online suits.`,
  QUOTE: (answer) =>
    answer.cost_hyper
      ? `${answer.duration_s} s would cost about ${answer.cost_hyper} HYPER. ` +
        (answer.available_now ? 'A node is free now.' : 'All nodes that suit are busy now.')
      : 'No node suits, so there is no price.',
  JOB_STATUS: job,
  WAIT_FOR_JOB: job,
  CANCEL_JOB: job,
};

function job(answer: Answer): string {
  const told = `Job ${answer.job_id} is ${answer.state}`;
  if (answer.state === 'completed') {
    const cost = answer.cost_hyper ? ` for ${answer.cost_hyper} HYPER` : '';
    return `${told}${cost}. Result: ${cut(answer.result)}`;
  }
  if (answer.error) return `${told}: ${cut(answer.error)}`;
  return answer.final ? `${told}.` : `${told}, and not over yet.`;
}

/** Why an action failed, and what to do about it. */
export function failed(name: string, problem: Problem): string {
  const told = `${name} failed: ${problem.detail}`;
  if (!problem.next_action) return told;
  return `${told}${/[.!?:]$/.test(told) ? '' : '.'} ${problem.next_action}`;
}

/** A text, or a value as JSON, not longer than a model should read. */
export function cut(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null');
  return text.length <= LONGEST ? text : `${text.slice(0, LONGEST - 1)}…`;
}

const KNOWN: Readonly<Record<string, string>> = {
  job_id: 'jobId',
  state: 'jobState',
  final: 'jobFinal',
  cost_hyper: 'costHyper',
  available_now: 'availableNow',
  budget_remaining_hyper: 'budgetRemainingHyper',
};

/** What an agent's state takes over of an answer: a job's id and state, and the amounts that matter. */
export function valuesOf(answer: Answer): Record<string, unknown> {
  const shown = Object.entries(KNOWN).filter(([name]) => answer[name] !== undefined);
  return Object.fromEntries(shown.map(([name, as]) => [as, answer[name]]));
}
