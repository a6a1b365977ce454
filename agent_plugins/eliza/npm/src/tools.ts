// Written by `python -m tests.support.eliza_tools` from the engine's tools; not to be changed by hand.
import type { ActionSchema } from './schema.js';

/** States of jobs that are not over. */
export const OPEN_STATES: readonly string[] = [
  "assigned",
  "blocked",
  "cancelling",
  "offered",
  "pending",
  "running",
  "scheduled"
];

/** Actions by name, with the tool that each calls. */
export const ACTIONS = {
  "SUBMIT_JOB": {
    "tool": "submit_job",
    "summary": "Submit one GPU job to the network; the result holds its id.",
    "example": {
      "type": "llm_inference",
      "model": "qwen-7b",
      "prompt": "Explain quantum computing"
    },
    "input": {
      "title": "SubmitJob",
      "description": "A job to run.",
      "type": "object",
      "properties": {
        "gpu_models": {
          "description": "Any of these models; empty = any",
          "type": "array",
          "items": {
            "type": "string",
            "maxLength": 60,
            "minLength": 1,
            "pattern": "^[^|\\x00-\\x1f]+$"
          },
          "maxItems": 16,
          "default": []
        },
        "gpus": {
          "description": "GPUs of one node",
          "type": "integer",
          "minimum": 1,
          "maximum": 64,
          "default": 1
        },
        "min_vram_gb": {
          "description": "GB of memory per GPU",
          "type": "integer",
          "minimum": 0,
          "maximum": 1024,
          "default": 0
        },
        "capabilities": {
          "description": "All are needed; empty = what the job type needs by itself",
          "type": "array",
          "items": {
            "type": "string",
            "enum": [
              "cpu_compute",
              "fine_tuning",
              "generic_compute",
              "inference",
              "rag_indexing",
              "render",
              "training",
              "vision"
            ]
          },
          "maxItems": 8,
          "default": []
        },
        "region": {
          "type": "string",
          "description": "Continent of the node; empty = any",
          "enum": [
            "",
            "AF",
            "AS",
            "EU",
            "NA",
            "OC",
            "SA"
          ],
          "default": ""
        },
        "min_reputation": {
          "description": "Least reputation of the node; a new node has 100",
          "type": "integer",
          "minimum": 0,
          "maximum": 1000,
          "default": 0
        },
        "max_price_per_gpu_hour_hyper": {
          "description": "Highest price in HYPER as a decimal string, such as \"0.25\"; empty = no limit",
          "type": "string",
          "maxLength": 40,
          "default": ""
        },
        "type": {
          "type": "string",
          "title": "JobType",
          "description": "What kind of work it is",
          "enum": [
            "generic_compute",
            "llm_fine_tuning",
            "llm_inference",
            "rag_indexing",
            "render",
            "vision_pipeline"
          ]
        },
        "model": {
          "description": "Model to run, such as qwen-7b",
          "type": "string",
          "maxLength": 200,
          "default": ""
        },
        "prompt": {
          "description": "What the model is asked",
          "type": "string",
          "maxLength": 100000,
          "default": ""
        },
        "input": {
          "description": "Anything else the node's executor needs",
          "type": "object",
          "default": {}
        },
        "policy": {
          "description": "How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added; empty = the network's default",
          "type": "string",
          "maxLength": 40,
          "pattern": "^[A-Za-z0-9_]*$",
          "default": ""
        },
        "priority": {
          "description": "Higher goes first",
          "type": "integer",
          "minimum": 0,
          "maximum": 9,
          "default": 0
        },
        "timeout_s": {
          "description": "Longest run; 0 = the network's default",
          "type": "integer",
          "minimum": 0,
          "maximum": 604800,
          "default": 0
        },
        "queue_ttl_s": {
          "description": "Longest wait for a node; 0 = default",
          "type": "integer",
          "minimum": 0,
          "maximum": 604800,
          "default": 0
        },
        "max_retries": {
          "description": "Failed runs to make up for; -1 = default",
          "type": "integer",
          "minimum": -1,
          "maximum": 20,
          "default": -1
        },
        "deadline_s": {
          "description": "Seconds from now after which a result is of no use: the job then ends, wherever it stands; 0 = none",
          "type": "integer",
          "minimum": 0,
          "maximum": 604800,
          "default": 0
        },
        "max_attempts": {
          "description": "Nodes it may be offered to, one after the other; 0 = any number",
          "type": "integer",
          "minimum": 0,
          "maximum": 10000,
          "default": 0
        },
        "retry_backoff_s": {
          "description": "Seconds to wait after a lost run; doubles with each further one",
          "type": "integer",
          "minimum": 0,
          "maximum": 86400,
          "default": 0
        },
        "retry_backoff_max_s": {
          "description": "Longest of those waits; 0 = ten times the first",
          "type": "integer",
          "minimum": 0,
          "maximum": 604800,
          "default": 0
        },
        "exclude_nodes": {
          "type": "string",
          "title": "ExcludeNodes",
          "description": "Nodes that do not get it again: failed = all that declined or lost it, last = only the last of them, none = none",
          "enum": [
            "failed",
            "last",
            "none"
          ],
          "default": "failed"
        },
        "start_at": {
          "description": "When it may start; a time that has passed, or empty = now",
          "type": "string",
          "maxLength": 40,
          "pattern": "^([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$",
          "default": ""
        },
        "delay_s": {
          "description": "Or in how many seconds it may start; 0 = now",
          "type": "integer",
          "minimum": 0,
          "maximum": 31536000,
          "default": 0
        },
        "idempotency_key": {
          "description": "The same key and request make one job, however often it is sent",
          "type": "string",
          "maxLength": 200,
          "default": ""
        }
      },
      "required": [
        "type"
      ],
      "additionalProperties": false
    },
    "answers": [
      "job_id",
      "state",
      "created"
    ]
  },
  "CHECK_AVAILABILITY": {
    "tool": "availability",
    "summary": "Count the nodes that suit some requirements, and those of them that are free.",
    "example": {
      "gpu_models": [
        "A100"
      ],
      "min_vram_gb": 24
    },
    "input": {
      "title": "Availability",
      "description": "A look at what is there.",
      "type": "object",
      "properties": {
        "gpu_models": {
          "description": "Any of these models; empty = any",
          "type": "array",
          "items": {
            "type": "string",
            "maxLength": 60,
            "minLength": 1,
            "pattern": "^[^|\\x00-\\x1f]+$"
          },
          "maxItems": 16,
          "default": []
        },
        "gpus": {
          "description": "GPUs of one node",
          "type": "integer",
          "minimum": 1,
          "maximum": 64,
          "default": 1
        },
        "min_vram_gb": {
          "description": "GB of memory per GPU",
          "type": "integer",
          "minimum": 0,
          "maximum": 1024,
          "default": 0
        },
        "capabilities": {
          "description": "All are needed; empty = what the job type needs by itself",
          "type": "array",
          "items": {
            "type": "string",
            "enum": [
              "cpu_compute",
              "fine_tuning",
              "generic_compute",
              "inference",
              "rag_indexing",
              "render",
              "training",
              "vision"
            ]
          },
          "maxItems": 8,
          "default": []
        },
        "region": {
          "type": "string",
          "description": "Continent of the node; empty = any",
          "enum": [
            "",
            "AF",
            "AS",
            "EU",
            "NA",
            "OC",
            "SA"
          ],
          "default": ""
        },
        "min_reputation": {
          "description": "Least reputation of the node; a new node has 100",
          "type": "integer",
          "minimum": 0,
          "maximum": 1000,
          "default": 0
        },
        "max_price_per_gpu_hour_hyper": {
          "description": "Highest price in HYPER as a decimal string, such as \"0.25\"; empty = no limit",
          "type": "string",
          "maxLength": 40,
          "default": ""
        },
        "type": {
          "type": "string",
          "title": "JobType",
          "description": "What kind of work it is",
          "enum": [
            "generic_compute",
            "llm_fine_tuning",
            "llm_inference",
            "rag_indexing",
            "render",
            "vision_pipeline"
          ],
          "default": "generic_compute"
        }
      },
      "required": [],
      "additionalProperties": false
    },
    "answers": [
      "nodes_total",
      "nodes_online",
      "matching",
      "available_now",
      "free_slots",
      "cheapest_price_per_gpu_hour_hyper",
      "median_price_per_gpu_hour_hyper",
      "by_gpu_model",
      "rejects"
    ]
  },
  "QUOTE": {
    "tool": "quote",
    "summary": "Estimate what a job would cost in HYPER. Not binding.",
    "example": {
      "type": "llm_inference",
      "duration_s": 600
    },
    "input": {
      "title": "Quote",
      "description": "A price to ask for.",
      "type": "object",
      "properties": {
        "gpu_models": {
          "description": "Any of these models; empty = any",
          "type": "array",
          "items": {
            "type": "string",
            "maxLength": 60,
            "minLength": 1,
            "pattern": "^[^|\\x00-\\x1f]+$"
          },
          "maxItems": 16,
          "default": []
        },
        "gpus": {
          "description": "GPUs of one node",
          "type": "integer",
          "minimum": 1,
          "maximum": 64,
          "default": 1
        },
        "min_vram_gb": {
          "description": "GB of memory per GPU",
          "type": "integer",
          "minimum": 0,
          "maximum": 1024,
          "default": 0
        },
        "capabilities": {
          "description": "All are needed; empty = what the job type needs by itself",
          "type": "array",
          "items": {
            "type": "string",
            "enum": [
              "cpu_compute",
              "fine_tuning",
              "generic_compute",
              "inference",
              "rag_indexing",
              "render",
              "training",
              "vision"
            ]
          },
          "maxItems": 8,
          "default": []
        },
        "region": {
          "type": "string",
          "description": "Continent of the node; empty = any",
          "enum": [
            "",
            "AF",
            "AS",
            "EU",
            "NA",
            "OC",
            "SA"
          ],
          "default": ""
        },
        "min_reputation": {
          "description": "Least reputation of the node; a new node has 100",
          "type": "integer",
          "minimum": 0,
          "maximum": 1000,
          "default": 0
        },
        "max_price_per_gpu_hour_hyper": {
          "description": "Highest price in HYPER as a decimal string, such as \"0.25\"; empty = no limit",
          "type": "string",
          "maxLength": 40,
          "default": ""
        },
        "type": {
          "type": "string",
          "title": "JobType",
          "description": "What kind of work it is",
          "enum": [
            "generic_compute",
            "llm_fine_tuning",
            "llm_inference",
            "rag_indexing",
            "render",
            "vision_pipeline"
          ],
          "default": "generic_compute"
        },
        "policy": {
          "description": "How to choose the node: reputation_weighted, cheapest, fastest, spread, or one that this network has added; empty = the network's default",
          "type": "string",
          "maxLength": 40,
          "pattern": "^[A-Za-z0-9_]*$",
          "default": ""
        },
        "duration_s": {
          "description": "How long the job is expected to run",
          "type": "integer",
          "minimum": 1,
          "maximum": 604800,
          "default": 3600
        }
      },
      "required": [],
      "additionalProperties": false
    },
    "answers": [
      "available_now",
      "duration_s",
      "node_id",
      "price_per_gpu_hour_hyper",
      "cost_hyper",
      "cheapest_cost_hyper",
      "median_cost_hyper",
      "view_age_s"
    ]
  },
  "JOB_STATUS": {
    "tool": "get_job",
    "summary": "Read the present state of a job, with its result when it is done.",
    "example": {
      "job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
    },
    "input": {
      "title": "GetJob",
      "type": "object",
      "properties": {
        "job_id": {
          "description": "The job_id that submit_job returned",
          "examples": [
            "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
          ],
          "type": "string",
          "maxLength": 40,
          "minLength": 1,
          "pattern": "^[A-Za-z0-9_\\-]+$"
        }
      },
      "required": [
        "job_id"
      ],
      "additionalProperties": false
    },
    "answers": [
      "job_id",
      "type",
      "state",
      "reason",
      "version",
      "attempt",
      "final"
    ]
  },
  "WAIT_FOR_JOB": {
    "tool": "watch_job",
    "summary": "Wait up to wait_s seconds, 45 at most, for a job to end; always answers its state.",
    "example": {
      "job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f",
      "wait_s": 30
    },
    "input": {
      "title": "WatchJob",
      "description": "``seen_version``: the job's version you know; the answer comes as soon as there is a newer one.",
      "type": "object",
      "properties": {
        "job_id": {
          "description": "The job_id that submit_job returned",
          "examples": [
            "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
          ],
          "type": "string",
          "maxLength": 40,
          "minLength": 1,
          "pattern": "^[A-Za-z0-9_\\-]+$"
        },
        "wait_s": {
          "description": "Longest wait in seconds",
          "type": "number",
          "minimum": 0,
          "maximum": 45,
          "default": 30.0
        },
        "until": {
          "type": "string",
          "description": "final: wait for the end; change: for anything new",
          "enum": [
            "change",
            "final"
          ],
          "default": "final"
        },
        "seen_version": {
          "description": "With until=change: the version you have; 0 = the present one",
          "type": "integer",
          "minimum": 0,
          "maximum": 2147483647,
          "default": 0
        }
      },
      "required": [
        "job_id"
      ],
      "additionalProperties": false
    },
    "answers": [
      "job_id",
      "type",
      "state",
      "reason",
      "version",
      "attempt",
      "final"
    ]
  },
  "CANCEL_JOB": {
    "tool": "cancel_job",
    "summary": "Cancel a job by its id.",
    "example": {
      "job_id": "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
    },
    "input": {
      "title": "CancelJob",
      "type": "object",
      "properties": {
        "job_id": {
          "description": "The job_id that submit_job returned",
          "examples": [
            "job_01jd3k5m7p9r1t3v5x7z9b1d3f"
          ],
          "type": "string",
          "maxLength": 40,
          "minLength": 1,
          "pattern": "^[A-Za-z0-9_\\-]+$"
        }
      },
      "required": [
        "job_id"
      ],
      "additionalProperties": false
    },
    "answers": [
      "job_id",
      "type",
      "state",
      "reason",
      "version",
      "attempt",
      "final"
    ]
  }
} satisfies Readonly<Record<string, ActionSchema>>;
