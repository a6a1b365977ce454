/**
 * Stands in for an agent's model: it reads the same prompts, and comes to the same answers every time. It knows one task,
 * "Run model NAME with the prompt <TEXT>", and the names of actions that it is offered.
 */

const TASK = /Run model (\S+) with the prompt <([^>]*)>/;
const JOB_ID = /job_[0-9a-z]{26}/g;
/** Stands in the examples of actions. */
const EXAMPLE_ID = 'job_01jd3k5m7p9r1t3v5x7z9b1d3f';

export class Scripted {
  answer(prompt: string): string {
    const [, model, text] = TASK.exec(prompt.replaceAll('&lt;', '<').replaceAll('&gt;', '>')) ?? [];
    if (!model || text === undefined) throw new Error(`no task in: ${prompt.slice(0, 300)}`);
    const wanted = { type: 'llm_inference', model, prompt: text };
    if (prompt.startsWith('# Task: read the arguments of SUBMIT_JOB')) return JSON.stringify(wanted);
    if (prompt.includes('Summarize what the assistant has done')) return this.#summary(prompt);
    if (prompt.includes('Determine the next step')) return this.#step(prompt, wanted);
    return response({ thought: 'A job to run.', actions: 'SUBMIT_JOB,WAIT_FOR_JOB', text: 'I run it.' });
  }

  #step(prompt: string, wanted: object): string {
    const offered = [...prompt.matchAll(/^## (\S+)$/gm)].map((match) => match[1] ?? '');
    const submit = offered.find((name) => /(^|HYPERNODE_)SUBMIT_JOB$/.test(name));
    const wait = offered.find((name) => /(^|HYPERNODE_)(WAIT|WATCH|WAIT_FOR)_JOB$/.test(name));
    if (!submit || !wait) throw new Error(`the actions are not offered: ${offered.join(', ')}`);
    const done = results(prompt);
    if (done.text.includes('completed')) return response({ thought: 'Done.', action: '', isFinish: 'true' });
    const [action, parameters] = done.id ? [wait, { job_id: done.id, wait_s: 30 }] : [submit, wanted];
    return response({ thought: 'Next.', action, parameters: JSON.stringify(parameters), isFinish: 'false' });
  }

  #summary(prompt: string): string {
    return response({ thought: 'Done.', text: results(prompt).text });
  }
}

/** What earlier steps have come to, as the prompt tells it, and the job they were about. */
function results(prompt: string): { id: string | undefined; text: string } {
  const ids = [...new Set(prompt.match(JOB_ID) ?? [])].filter((id) => id !== EXAMPLE_ID);
  if (ids.length > 1) throw new Error(`several jobs in one prompt: ${ids.join(', ')}`);
  const lines = prompt.split('\n').filter((line) => ids[0] !== undefined && line.includes(ids[0]));
  return { id: ids[0], text: lines.join('\n') };
}

function response(fields: Record<string, string>): string {
  const inner = Object.entries(fields).map(([name, value]) => `<${name}>${value}</${name}>`);
  return `<response>\n${inner.join('\n')}\n</response>`;
}
