/** Conversations that show a model when each action is right. */
import type { ActionExample } from '@elizaos/core';

const ID = 'job_01jd3k5m7p9r1t3v5x7z9b1d3f';

function talk(action: string, asked: string, answered: string): ActionExample[] {
  return [
    { name: '{{user}}', content: { text: asked } },
    { name: '{{agent}}', content: { text: answered, actions: [action] } },
  ];
}

export const EXAMPLES: Readonly<Record<string, ActionExample[][]>> = {
  SUBMIT_JOB: [
    talk('SUBMIT_JOB', 'Ask qwen-7b to explain quantum computing, on a GPU of the network.', 'I submit the job.'),
    talk('SUBMIT_JOB', 'Render s3://scenes/1 on an A100, for 0.5 HYPER per GPU-hour at most.', 'I submit it.'),
  ],
  CHECK_AVAILABILITY: [
    talk('CHECK_AVAILABILITY', 'Are there A100s with 40 GB free right now?', 'I look which nodes are free.'),
  ],
  QUOTE: [talk('QUOTE', 'What would ten minutes of inference on an RTX 4090 cost?', 'I ask for a price.')],
  JOB_STATUS: [talk('JOB_STATUS', `How is ${ID} doing?`, 'I read its state.')],
  WAIT_FOR_JOB: [
    talk('WAIT_FOR_JOB', `Tell me when ${ID} is done.`, 'I wait for it.'),
    [
      { name: '{{user}}', content: { text: 'Ask qwen-7b for a haiku and give me the answer.' } },
      {
        name: '{{agent}}',
        content: { text: 'I submit it and wait for the result.', actions: ['SUBMIT_JOB', 'WAIT_FOR_JOB'] },
      },
    ],
  ],
  CANCEL_JOB: [talk('CANCEL_JOB', `Cancel ${ID}, please.`, 'I cancel it.')],
};
