// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

/// The JSON Schema of manifests, as Python checks it in.
enum ManifestSchema {
    /// The version of the manifests that it describes.
    static let version = 2
    static let text = #"""
{
 "$defs": {
  "AffineSettings": {
   "additionalProperties": false,
   "description": "``(x \u2212 shift)\u00b7scale``.",
   "properties": {
    "scale": {
     "default": 1.0,
     "title": "Scale",
     "type": "number"
    },
    "shift": {
     "default": 0.0,
     "title": "Shift",
     "type": "number"
    }
   },
   "title": "AffineSettings",
   "type": "object"
  },
  "Artifact": {
   "additionalProperties": false,
   "description": "One component lowered for one target, with what was measured on it.",
   "properties": {
    "coverage": {
     "$ref": "#/$defs/Coverage"
    },
    "functions": {
     "default": [],
     "description": "Its functions, the default one first; none where it is the contract itself.",
     "items": {
      "$ref": "#/$defs/ArtifactFunction"
     },
     "maxItems": 8,
     "title": "Functions",
     "type": "array"
    },
    "golden_gate": {
     "$ref": "#/$defs/Gate",
     "description": "What its outputs must reach against the full-precision goldens to run."
    },
    "goldens": {
     "default": [],
     "description": "What it reached where it was built, per golden and output.",
     "items": {
      "$ref": "#/$defs/Fidelity"
     },
     "title": "Goldens",
     "type": "array"
    },
    "path": {
     "maxLength": 240,
     "minLength": 1,
     "title": "Path",
     "type": "string"
    },
    "precision": {
     "$ref": "#/$defs/Precision"
    },
    "rungs": {
     "description": "Every rung of the parity ladder, in order, run or not.",
     "items": {
      "$ref": "#/$defs/Rung"
     },
     "title": "Rungs",
     "type": "array"
    }
   },
   "required": [
    "path",
    "precision",
    "coverage",
    "rungs",
    "golden_gate"
   ],
   "title": "Artifact",
   "type": "object"
  },
  "ArtifactFunction": {
   "additionalProperties": false,
   "description": "One function of an artifact; all of them share their weights, and may share their states.\n\nA function of the contract's (`ComponentSpec.functions`) bears its name, inputs and outputs. One that keeps tensors\nfrom call to call has states in place of inputs: a state bears the name of the contract's input that it takes the\nplace of, and the function writes into it.",
   "properties": {
    "file": {
     "anyOf": [
      {
       "pattern": "^[a-z0-9][a-z0-9._-]{0,119}$",
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Its own file beside the artifact, where the format holds one graph a file; null where it is in the artifact itself.",
     "title": "File"
    },
    "inputs": {
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "maxItems": 16,
     "minItems": 1,
     "title": "Inputs",
     "type": "array"
    },
    "name": {
     "description": "As the artifact calls it.",
     "pattern": "^[a-z][a-z0-9_]{0,63}$",
     "title": "Name",
     "type": "string"
    },
    "outputs": {
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "maxItems": 16,
     "minItems": 1,
     "title": "Outputs",
     "type": "array"
    },
    "states": {
     "default": [],
     "description": "What it keeps; none where it is stateless.",
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "maxItems": 16,
     "title": "States",
     "type": "array"
    }
   },
   "required": [
    "name",
    "inputs",
    "outputs"
   ],
   "title": "ArtifactFunction",
   "type": "object"
  },
  "ArtistSettings": {
   "additionalProperties": false,
   "description": "How the artist makes a picture.",
   "properties": {
    "bridge_tokens": {
     "anyOf": [
      {
       "maximum": 8192,
       "minimum": 0,
       "type": "integer"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Words of the answer that it reads, after the prompt; all where null.",
     "title": "Bridge Tokens"
    },
    "latents": {
     "$ref": "#/$defs/AffineSettings",
     "description": "From the autoencoder's latents to those that are denoised."
    },
    "picture": {
     "$ref": "#/$defs/AffineSettings",
     "description": "From the autoencoder's latents to those that show the photo."
    },
    "seed": {
     "description": "Of the noise: the key of Philox 4x64; every reader of JSON holds it.",
     "exclusiveMaximum": 9007199254740992,
     "minimum": 0,
     "title": "Seed",
     "type": "integer"
    },
    "side": {
     "description": "Pixels of the square that a photo becomes; aspect not kept.",
     "maximum": 8192,
     "minimum": 16,
     "title": "Side",
     "type": "integer"
    },
    "start_noise": {
     "description": "Factor on noise where the steps begin.",
     "title": "Start Noise",
     "type": "number"
    },
    "start_picture": {
     "description": "Factor on the photo's own latents where the steps begin.",
     "title": "Start Picture",
     "type": "number"
    },
    "steps": {
     "items": {
      "$ref": "#/$defs/StepSettings"
     },
     "maxItems": 1000,
     "minItems": 1,
     "title": "Steps",
     "type": "array"
    },
    "tiles": {
     "default": 0,
     "description": "Most tiles of its size in which it edits a photo's own pixels, where what it did cannot be carried over as colors.",
     "maximum": 4096,
     "minimum": 0,
     "title": "Tiles",
     "type": "integer"
    },
    "time": {
     "$ref": "#/$defs/TimeSettings"
    }
   },
   "required": [
    "side",
    "latents",
    "picture",
    "start_noise",
    "start_picture",
    "steps",
    "time",
    "seed"
   ],
   "title": "ArtistSettings",
   "type": "object"
  },
  "Attribute": {
   "description": "What a plan can change, in the order of the critic's and artist's vectors; values are `EditPlan` field names.",
   "enum": [
    "exposure_ev",
    "temperature_mired",
    "tint_mired",
    "contrast",
    "highlights",
    "shadows",
    "saturation",
    "dehaze",
    "denoise",
    "deblur",
    "dejpeg"
   ],
   "title": "Attribute",
   "type": "string"
  },
  "AttributeGate": {
   "additionalProperties": false,
   "description": "What one attribute of a predicted plan must reach before it is carried out, and how much of it is then.",
   "properties": {
    "confidence": {
     "description": "Lowest P(predicted amount is near the truth) at which it is changed.",
     "maximum": 1,
     "minimum": 0,
     "title": "Confidence",
     "type": "number"
    },
    "dead_zone": {
     "description": "Predicted amounts smaller than this, in vector units, are dropped.",
     "maximum": 4,
     "minimum": 0,
     "title": "Dead Zone",
     "type": "number"
    },
    "presence": {
     "description": "Lowest P(attribute needs a change) at which it is changed.",
     "maximum": 1,
     "minimum": 0,
     "title": "Presence",
     "type": "number"
    },
    "shrink": {
     "default": 1.0,
     "description": "Share of the predicted amount that is carried out; 0 never changes it.",
     "maximum": 1,
     "minimum": 0,
     "title": "Shrink",
     "type": "number"
    }
   },
   "required": [
    "presence",
    "confidence",
    "dead_zone"
   ],
   "title": "AttributeGate",
   "type": "object"
  },
  "BackendName": {
   "description": "The backends that a person can choose.",
   "enum": [
    "onnxruntime",
    "executorch",
    "torch",
    "qnn-emulator",
    "mil-interpreter",
    "executorch-qnn-emulator",
    "coreai",
    "litert",
    "device"
   ],
   "title": "BackendName",
   "type": "string"
  },
  "ComponentEntry": {
   "additionalProperties": false,
   "description": "A component: its contract, its origin, its goldens and its artifacts by target name.",
   "properties": {
    "artifacts": {
     "minProperties": 1,
     "patternProperties": {
      "^[a-z][a-z0-9-]{0,63}(:[a-z0-9]{1,16})?$": {
       "$ref": "#/$defs/Artifact"
      }
     },
     "title": "Artifacts",
     "type": "object"
    },
    "goldens": {
     "items": {
      "$ref": "#/$defs/Golden"
     },
     "minItems": 1,
     "title": "Goldens",
     "type": "array"
    },
    "source": {
     "$ref": "#/$defs/Source"
    },
    "spec": {
     "$ref": "#/$defs/ComponentSpec"
    }
   },
   "required": [
    "spec",
    "source",
    "goldens",
    "artifacts"
   ],
   "title": "ComponentEntry",
   "type": "object"
  },
  "ComponentSpec": {
   "additionalProperties": false,
   "description": "The contract of one component: its name, its role, and its inputs and outputs in calling order.",
   "properties": {
    "functions": {
     "default": [],
     "description": "Further functions on the same weights; most components have none.",
     "items": {
      "$ref": "#/$defs/FunctionSpec"
     },
     "maxItems": 7,
     "title": "Functions",
     "type": "array"
    },
    "inputs": {
     "description": "Of the function that is called by default.",
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "minItems": 1,
     "title": "Inputs",
     "type": "array"
    },
    "name": {
     "description": "A component's name, and its artifacts' file name.",
     "pattern": "^[a-z][a-z0-9_-]{0,63}$",
     "title": "Name",
     "type": "string"
    },
    "outputs": {
     "description": "Of the function that is called by default.",
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "minItems": 1,
     "title": "Outputs",
     "type": "array"
    },
    "role": {
     "$ref": "#/$defs/Role"
    }
   },
   "required": [
    "name",
    "role",
    "inputs",
    "outputs"
   ],
   "title": "ComponentSpec",
   "type": "object"
  },
  "Coverage": {
   "additionalProperties": false,
   "description": "How much of a component the accelerated backend computes.",
   "properties": {
    "delegated_ops": {
     "description": "Operators inside delegated subgraphs.",
     "minimum": 0,
     "title": "Delegated Ops",
     "type": "integer"
    },
    "fallbacks": {
     "default": [],
     "description": "Operators left outside, by name.",
     "items": {
      "$ref": "#/$defs/Fallback"
     },
     "title": "Fallbacks",
     "type": "array"
    },
    "macs_delegated": {
     "description": "Multiply-accumulates inside delegated subgraphs.",
     "minimum": 0,
     "title": "Macs Delegated",
     "type": "integer"
    },
    "macs_total": {
     "description": "Multiply-accumulates of the whole graph.",
     "minimum": 0,
     "title": "Macs Total",
     "type": "integer"
    },
    "subgraphs": {
     "description": "Delegated subgraphs; each boundary costs a copy.",
     "minimum": 0,
     "title": "Subgraphs",
     "type": "integer"
    }
   },
   "required": [
    "macs_total",
    "macs_delegated",
    "delegated_ops",
    "subgraphs"
   ],
   "title": "Coverage",
   "type": "object"
  },
  "CriticSettings": {
   "additionalProperties": false,
   "description": "What the critic is asked, and when its answer ends.",
   "properties": {
    "longest_answer": {
     "description": "Most ids of an answer.",
     "maximum": 8192,
     "minimum": 1,
     "title": "Longest Answer",
     "type": "integer"
    },
    "picture": {
     "$ref": "#/$defs/PictureSettings"
    },
    "picture_token": {
     "minimum": 0,
     "title": "Picture Token",
     "type": "integer"
    },
    "prompt": {
     "description": "Ids of the whole rendered prompt; the picture's tokens go in order where `picture_token` stands.",
     "items": {
      "type": "integer"
     },
     "maxItems": 65536,
     "minItems": 1,
     "title": "Prompt",
     "type": "array"
    },
    "rotary": {
     "$ref": "#/$defs/RotarySettings"
    },
    "rows": {
     "anyOf": [
      {
       "maximum": 1024,
       "minimum": 1,
       "type": "integer"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Tokens along the picture's side, where positions have several axes: the picture's are time, row and column, counted from its first token on, and the text goes on behind the largest.",
     "title": "Rows"
    },
    "stops": {
     "description": "Ids that end an answer.",
     "items": {
      "type": "integer"
     },
     "maxItems": 64,
     "minItems": 1,
     "title": "Stops",
     "type": "array"
    }
   },
   "required": [
    "prompt",
    "picture_token",
    "stops",
    "longest_answer",
    "picture",
    "rotary"
   ],
   "title": "CriticSettings",
   "type": "object"
  },
  "Fallback": {
   "additionalProperties": false,
   "description": "An operator that runs outside the accelerated backend.",
   "properties": {
    "allowed": {
     "description": "Whether the recipe allows it.",
     "title": "Allowed",
     "type": "boolean"
    },
    "count": {
     "description": "How many times it occurs.",
     "minimum": 1,
     "title": "Count",
     "type": "integer"
    },
    "op": {
     "description": "Operator name, as the toolchain spells it.",
     "maxLength": 200,
     "minLength": 1,
     "title": "Op",
     "type": "string"
    },
    "reason": {
     "description": "Why it is not delegated.",
     "maxLength": 500,
     "title": "Reason",
     "type": "string"
    }
   },
   "required": [
    "op",
    "count",
    "reason",
    "allowed"
   ],
   "title": "Fallback",
   "type": "object"
  },
  "Fidelity": {
   "additionalProperties": false,
   "description": "How close one output of an artifact is to its reference.",
   "properties": {
    "cosine": {
     "description": "Cosine similarity; likewise of the changes.",
     "maximum": 1,
     "minimum": -1,
     "title": "Cosine",
     "type": "number"
    },
    "max_abs_error": {
     "description": "Largest absolute difference, in the output's unit.",
     "minimum": 0,
     "title": "Max Abs Error",
     "type": "number"
    },
    "output": {
     "description": "Name of the output; `<function>.<name>` of a further function.",
     "maxLength": 130,
     "minLength": 1,
     "title": "Output",
     "type": "string"
    },
    "psnr_db": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Peak ratio in dB; null for no picture, and where identical.",
     "title": "Psnr Db"
    },
    "sqnr_db": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "description": "Signal-to-quantization-noise ratio in dB; null where the two are identical. Of an output that mends an input, the signal is what it changes.",
     "title": "Sqnr Db"
    }
   },
   "required": [
    "output",
    "sqnr_db",
    "cosine",
    "max_abs_error"
   ],
   "title": "Fidelity",
   "type": "object"
  },
  "Figure": {
   "additionalProperties": false,
   "description": "One measured value.",
   "properties": {
    "metric": {
     "$ref": "#/$defs/Metric"
    },
    "of": {
     "default": "",
     "description": "Which of several it is of, as an output's name.",
     "maxLength": 130,
     "title": "Of",
     "type": "string"
    },
    "value": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "description": "Null where it is perfect and has no number: the ratio of equal tensors.",
     "title": "Value"
    }
   },
   "required": [
    "metric",
    "value"
   ],
   "title": "Figure",
   "type": "object"
  },
  "FileEntry": {
   "additionalProperties": false,
   "description": "One file of the bundle.",
   "properties": {
    "path": {
     "description": "POSIX path relative to the bundle.",
     "maxLength": 240,
     "minLength": 1,
     "title": "Path",
     "type": "string"
    },
    "sha256": {
     "pattern": "^[0-9a-f]{64}$",
     "title": "Sha256",
     "type": "string"
    },
    "size": {
     "description": "Bytes.",
     "maximum": 4294967296,
     "minimum": 0,
     "title": "Size",
     "type": "integer"
    }
   },
   "required": [
    "path",
    "sha256",
    "size"
   ],
   "title": "FileEntry",
   "type": "object"
  },
  "FunctionSpec": {
   "additionalProperties": false,
   "description": "A further function of a component: other inputs and outputs over the same weights, as `prefill` beside a step.",
   "properties": {
    "inputs": {
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "minItems": 1,
     "title": "Inputs",
     "type": "array"
    },
    "name": {
     "description": "As the artifact calls it.",
     "pattern": "^[a-z][a-z0-9_]{0,63}$",
     "title": "Name",
     "type": "string"
    },
    "outputs": {
     "items": {
      "$ref": "#/$defs/TensorSpec"
     },
     "minItems": 1,
     "title": "Outputs",
     "type": "array"
    }
   },
   "required": [
    "name",
    "inputs",
    "outputs"
   ],
   "title": "FunctionSpec",
   "type": "object"
  },
  "Gate": {
   "additionalProperties": false,
   "description": "The bound that every figure of one metric must keep.",
   "properties": {
    "maximum": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Highest value that passes; null where the gate is a minimum.",
     "title": "Maximum"
    },
    "metric": {
     "$ref": "#/$defs/Metric"
    },
    "minimum": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Lowest value that passes; null where the gate is a maximum.",
     "title": "Minimum"
    }
   },
   "required": [
    "metric"
   ],
   "title": "Gate",
   "type": "object"
  },
  "GateSettings": {
   "additionalProperties": false,
   "description": "The gate of a bundle: one entry for every attribute, tuned on validation photos; and its judge's, if it has one.\n\nWhat restoration mends does not show in a small preview, so that thresholds decide on it with a judge too.",
   "properties": {
    "attributes": {
     "additionalProperties": {
      "$ref": "#/$defs/AttributeGate"
     },
     "description": "The gate of each attribute; all must be there.",
     "propertyNames": {
      "$ref": "#/$defs/Attribute"
     },
     "title": "Attributes",
     "type": "object"
    },
    "judge": {
     "anyOf": [
      {
       "$ref": "#/$defs/JudgeSettings"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "How the component `judge` chooses tones, in place of their thresholds; null without it."
    }
   },
   "required": [
    "attributes"
   ],
   "title": "GateSettings",
   "type": "object"
  },
  "Golden": {
   "additionalProperties": false,
   "description": "One example of a component: what goes in and what the full-precision student makes of it, as `.npz`.",
   "properties": {
    "function": {
     "anyOf": [
      {
       "description": "As the artifact calls it.",
       "pattern": "^[a-z][a-z0-9_]{0,63}$",
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Which further function it is of; null for the default.",
     "title": "Function"
    },
    "inputs": {
     "maxLength": 240,
     "minLength": 1,
     "title": "Inputs",
     "type": "string"
    },
    "outputs": {
     "maxLength": 240,
     "minLength": 1,
     "title": "Outputs",
     "type": "string"
    }
   },
   "required": [
    "inputs",
    "outputs"
   ],
   "title": "Golden",
   "type": "object"
  },
  "JsonValue": {},
  "JudgeSettings": {
   "additionalProperties": false,
   "description": "What a bundle's judge chooses from, and how sure it must be.",
   "properties": {
    "bar": {
     "description": "What the low quantile of a gain must exceed, in CIEDE2000.",
     "maximum": 100,
     "minimum": -100,
     "title": "Bar",
     "type": "number"
    },
    "proposals": {
     "description": "What the judge was trained to look at, in order.",
     "items": {
      "$ref": "#/$defs/Proposal"
     },
     "maxItems": 12,
     "minItems": 12,
     "title": "Proposals",
     "type": "array"
    },
    "worth": {
     "description": "What its median must exceed: less is not seen, in CIEDE2000.",
     "maximum": 100,
     "minimum": 0,
     "title": "Worth",
     "type": "number"
    }
   },
   "required": [
    "proposals",
    "bar",
    "worth"
   ],
   "title": "JudgeSettings",
   "type": "object"
  },
  "LicenseEntry": {
   "additionalProperties": false,
   "description": "A licence text and what it covers.",
   "properties": {
    "covers": {
     "maxLength": 500,
     "minLength": 1,
     "title": "Covers",
     "type": "string"
    },
    "path": {
     "maxLength": 240,
     "minLength": 1,
     "title": "Path",
     "type": "string"
    },
    "spdx": {
     "description": "SPDX expression.",
     "maxLength": 100,
     "minLength": 1,
     "title": "Spdx",
     "type": "string"
    }
   },
   "required": [
    "spdx",
    "path",
    "covers"
   ],
   "title": "LicenseEntry",
   "type": "object"
  },
  "Metric": {
   "description": "What is measured; its unit is in its name where it has one.",
   "enum": [
    "sqnr-db",
    "psnr-db",
    "ssim",
    "delta-e",
    "mac-coverage",
    "delta-e-mean",
    "delta-e-worst",
    "plan-error",
    "token-agreement",
    "psnr-loss-db",
    "ssim-loss",
    "delta-e-loss",
    "plan-error-loss"
   ],
   "title": "Metric",
   "type": "string"
  },
  "PictureSettings": {
   "additionalProperties": false,
   "description": "How a photo becomes the critic's picture, as its image processor does it.",
   "properties": {
    "deviation": {
     "description": "What is left is divided by it.",
     "maxItems": 3,
     "minItems": 3,
     "prefixItems": [
      {
       "type": "number"
      },
      {
       "type": "number"
      },
      {
       "type": "number"
      }
     ],
     "title": "Deviation",
     "type": "array"
    },
    "longest_edge": {
     "anyOf": [
      {
       "maximum": 16384,
       "minimum": 1,
       "type": "integer"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "The photo is scaled to this first, aspect kept; null where it is not.",
     "title": "Longest Edge"
    },
    "mean": {
     "description": "Subtracted from RGB in [0, 1].",
     "maxItems": 3,
     "minItems": 3,
     "prefixItems": [
      {
       "type": "number"
      },
      {
       "type": "number"
      },
      {
       "type": "number"
      }
     ],
     "title": "Mean",
     "type": "array"
    },
    "resampling": {
     "$ref": "#/$defs/Resampling"
    },
    "side": {
     "description": "Then it becomes a square of so many pixels.",
     "maximum": 4096,
     "minimum": 8,
     "title": "Side",
     "type": "integer"
    }
   },
   "required": [
    "side",
    "resampling",
    "mean",
    "deviation"
   ],
   "title": "PictureSettings",
   "type": "object"
  },
  "Precision": {
   "description": "The numbers a component computes with on one target.",
   "enum": [
    "fp32",
    "fp16",
    "int8",
    "a16w8",
    "a16w4",
    "w8",
    "w4",
    "w8a8-dynamic",
    "8da4w",
    "palette6",
    "palette4"
   ],
   "title": "Precision",
   "type": "string"
  },
  "Proposal": {
   "additionalProperties": false,
   "description": "A part of the critic's predicted plan.",
   "properties": {
    "attributes": {
     "description": "What it keeps.",
     "items": {
      "$ref": "#/$defs/Attribute"
     },
     "maxItems": 8,
     "minItems": 1,
     "title": "Attributes",
     "type": "array"
    },
    "dead_zone": {
     "default": 0.0,
     "description": "Smaller predicted amounts are dropped; in vector units.",
     "maximum": 4,
     "minimum": 0,
     "title": "Dead Zone",
     "type": "number"
    },
    "strength": {
     "default": 1.0,
     "description": "Factor on what is left.",
     "exclusiveMinimum": 0,
     "maximum": 4,
     "title": "Strength",
     "type": "number"
    }
   },
   "required": [
    "attributes"
   ],
   "title": "Proposal",
   "type": "object"
  },
  "Resampling": {
   "description": "A filter of Pillow's.",
   "enum": [
    "nearest",
    "bilinear",
    "bicubic",
    "lanczos"
   ],
   "title": "Resampling",
   "type": "string"
  },
  "Role": {
   "description": "What a component does in a pair, whatever its family.",
   "enum": [
    "vision",
    "embedding",
    "language",
    "bridge",
    "edit",
    "encode",
    "decode",
    "denoise"
   ],
   "title": "Role",
   "type": "string"
  },
  "RotarySettings": {
   "additionalProperties": false,
   "description": "Rotary embeddings of the language model; see `pocketcrafter.runtime.language.Rotary`.",
   "properties": {
    "frequencies": {
     "items": {
      "type": "number"
     },
     "maxItems": 512,
     "minItems": 1,
     "title": "Frequencies",
     "type": "array"
    },
    "interleaved": {
     "default": false,
     "title": "Interleaved",
     "type": "boolean"
    },
    "scale": {
     "title": "Scale",
     "type": "number"
    },
    "sections": {
     "default": [],
     "items": {
      "type": "integer"
     },
     "maxItems": 3,
     "title": "Sections",
     "type": "array"
    }
   },
   "required": [
    "frequencies",
    "scale"
   ],
   "title": "RotarySettings",
   "type": "object"
  },
  "Rung": {
   "additionalProperties": false,
   "description": "One rung of the parity ladder: what was compared, how, and whether it keeps its gates.",
   "properties": {
    "fidelity": {
     "default": [],
     "description": "One entry per output.",
     "items": {
      "$ref": "#/$defs/Fidelity"
     },
     "title": "Fidelity",
     "type": "array"
    },
    "figures": {
     "default": [],
     "description": "What was measured on whole photos.",
     "items": {
      "$ref": "#/$defs/Figure"
     },
     "maxItems": 16,
     "title": "Figures",
     "type": "array"
    },
    "gates": {
     "default": [],
     "description": "What its figures must keep.",
     "items": {
      "$ref": "#/$defs/Gate"
     },
     "maxItems": 16,
     "title": "Gates",
     "type": "array"
    },
    "how": {
     "description": "What was compared with what, by which engine.",
     "maxLength": 500,
     "minLength": 1,
     "title": "How",
     "type": "string"
    },
    "passed": {
     "anyOf": [
      {
       "type": "boolean"
      },
      {
       "type": "null"
      }
     ],
     "description": "Null where the rung was not run, or proves nothing.",
     "title": "Passed"
    },
    "rung": {
     "description": "0 student, 1 fake-quantized, 2 host artifact, 3 end to end, 4 device.",
     "maximum": 4,
     "minimum": 0,
     "title": "Rung",
     "type": "integer"
    }
   },
   "required": [
    "rung",
    "passed",
    "how"
   ],
   "title": "Rung",
   "type": "object"
  },
  "Source": {
   "additionalProperties": false,
   "description": "The trained weights that a component was lowered from.",
   "properties": {
    "license": {
     "description": "SPDX expression.",
     "maxLength": 100,
     "minLength": 1,
     "title": "License",
     "type": "string"
    },
    "sha256": {
     "pattern": "^[0-9a-f]{64}$",
     "title": "Sha256",
     "type": "string"
    },
    "weights": {
     "description": "File name of the weights.",
     "maxLength": 200,
     "minLength": 1,
     "title": "Weights",
     "type": "string"
    }
   },
   "required": [
    "weights",
    "sha256",
    "license"
   ],
   "title": "Source",
   "type": "object"
  },
  "StepSettings": {
   "additionalProperties": false,
   "description": "One step: ``latents \u2190 keep\u00b7latents + move\u00b7prediction + noise\u00b7fresh noise``.\n\nFlow-matching Euler, Euler, DDIM and LCM are all of this form; a build works the factors out once.",
   "properties": {
    "keep": {
     "title": "Keep",
     "type": "number"
    },
    "move": {
     "title": "Move",
     "type": "number"
    },
    "noise": {
     "default": 0.0,
     "title": "Noise",
     "type": "number"
    },
    "scale": {
     "default": 1.0,
     "description": "Factor on the latents that the network is given.",
     "title": "Scale",
     "type": "number"
    },
    "timestep": {
     "description": "What the network is told, as `TimeSettings` has it.",
     "title": "Timestep",
     "type": "number"
    }
   },
   "required": [
    "timestep",
    "keep",
    "move"
   ],
   "title": "StepSettings",
   "type": "object"
  },
  "TargetEntry": {
   "additionalProperties": false,
   "description": "A target: what its artifacts need to run.",
   "properties": {
    "backend": {
     "$ref": "#/$defs/BackendName"
    },
    "kind": {
     "enum": [
      "executorch-xnnpack",
      "litert",
      "onnx",
      "qnn-context:sm8650",
      "qnn-context:sm8750",
      "qnn-context:sm8850",
      "qnn-context:multi",
      "coreml:ios17",
      "coreml:ios18",
      "coreml:ios26",
      "executorch-qnn:sm8650",
      "executorch-qnn:sm8750",
      "executorch-qnn:sm8850",
      "executorch-coreml",
      "coreai:ios27",
      "executorch-coreai",
      "executorch-vulkan",
      "executorch-mediatek",
      "executorch-samsung"
     ],
     "title": "TargetKind",
     "type": "string"
    },
    "minimum_os": {
     "anyOf": [
      {
       "maxLength": 64,
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Lowest OS version; null where any will do.",
     "title": "Minimum Os"
    },
    "soc": {
     "anyOf": [
      {
       "maxLength": 64,
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Systems-on-chip that run it; null where any will do.",
     "title": "Soc"
    }
   },
   "required": [
    "kind",
    "backend"
   ],
   "title": "TargetEntry",
   "type": "object"
  },
  "TensorSpec": {
   "additionalProperties": false,
   "description": "One input or output of a component; every tensor is float32 at the component's edge, whatever runs inside.",
   "properties": {
    "maximum": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Highest legal value; none where unbounded.",
     "title": "Maximum"
    },
    "mends": {
     "anyOf": [
      {
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Of an output that is an input changed a little: that input, of the same shape. Its fidelity is that of the change, as beside the whole picture no error of it would count.",
     "title": "Mends"
    },
    "minimum": {
     "anyOf": [
      {
       "type": "number"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "description": "Lowest legal value; none where unbounded.",
     "title": "Minimum"
    },
    "name": {
     "maxLength": 64,
     "minLength": 1,
     "pattern": "^[a-z][a-z0-9_]*$",
     "title": "Name",
     "type": "string"
    },
    "semantics": {
     "description": "What the values mean, with units.",
     "maxLength": 300,
     "minLength": 1,
     "title": "Semantics",
     "type": "string"
    },
    "shape": {
     "description": "Static shape.",
     "items": {
      "type": "integer"
     },
     "maxItems": 6,
     "minItems": 1,
     "title": "Shape",
     "type": "array"
    }
   },
   "required": [
    "name",
    "shape",
    "semantics"
   ],
   "title": "TensorSpec",
   "type": "object"
  },
  "TimeSettings": {
   "additionalProperties": false,
   "description": "How a timestep is told to the network: the sines and cosines of it times each frequency, side by side.",
   "properties": {
    "cosines_first": {
     "description": "Whether the cosines come before the sines.",
     "title": "Cosines First",
     "type": "boolean"
    },
    "frequencies": {
     "description": "Radians for each timestep.",
     "items": {
      "type": "number"
     },
     "maxItems": 4096,
     "minItems": 1,
     "title": "Frequencies",
     "type": "array"
    }
   },
   "required": [
    "frequencies",
    "cosines_first"
   ],
   "title": "TimeSettings",
   "type": "object"
  },
  "TrainingData": {
   "additionalProperties": false,
   "description": "What the weights were trained on, for people and for the report.",
   "properties": {
    "sources": {
     "default": [],
     "items": {
      "$ref": "#/$defs/TrainingSource"
     },
     "title": "Sources",
     "type": "array"
    },
    "summary": {
     "default": "",
     "maxLength": 4000,
     "title": "Summary",
     "type": "string"
    }
   },
   "title": "TrainingData",
   "type": "object"
  },
  "TrainingSource": {
   "additionalProperties": false,
   "description": "Data that the weights were trained on.",
   "properties": {
    "license": {
     "description": "SPDX expression, or `proprietary`, in words.",
     "maxLength": 100,
     "minLength": 1,
     "title": "License",
     "type": "string"
    },
    "name": {
     "maxLength": 200,
     "minLength": 1,
     "title": "Name",
     "type": "string"
    },
    "url": {
     "anyOf": [
      {
       "maxLength": 500,
       "type": "string"
      },
      {
       "type": "null"
      }
     ],
     "default": null,
     "title": "Url"
    }
   },
   "required": [
    "name",
    "license"
   ],
   "title": "TrainingSource",
   "type": "object"
  }
 },
 "$schema": "https://json-schema.org/draft/2020-12/schema",
 "additionalProperties": false,
 "allOf": [
  {
   "if": {
    "properties": {
     "family": {
      "const": "pocket"
     }
    }
   },
   "then": {
    "properties": {
     "settings": {
      "additionalProperties": false,
      "description": "What the manifest of a pocket bundle holds beside its components.",
      "properties": {
       "gate": {
        "$ref": "#/$defs/GateSettings",
        "description": "Which attributes of a predicted plan are sure enough to be carried out."
       }
      },
      "required": [
       "gate"
      ],
      "title": "PocketSettings",
      "type": "object"
     }
    }
   }
  },
  {
   "if": {
    "properties": {
     "family": {
      "const": "networks"
     }
    }
   },
   "then": {
    "properties": {
     "settings": {
      "additionalProperties": false,
      "description": "A family that keeps nothing beside its components.",
      "properties": {},
      "title": "NoSettings",
      "type": "object"
     }
    }
   }
  },
  {
   "if": {
    "properties": {
     "family": {
      "const": "latent"
     }
    }
   },
   "then": {
    "properties": {
     "settings": {
      "additionalProperties": false,
      "description": "What the manifest of a latent bundle holds beside its components.",
      "properties": {
       "artist": {
        "anyOf": [
         {
          "$ref": "#/$defs/ArtistSettings"
         },
         {
          "type": "null"
         }
        ],
        "default": null,
        "description": "Null where there is a critic alone."
       },
       "critic": {
        "anyOf": [
         {
          "$ref": "#/$defs/CriticSettings"
         },
         {
          "type": "null"
         }
        ],
        "default": null,
        "description": "Null where there is an artist alone."
       }
      },
      "title": "LatentSettings",
      "type": "object"
     }
    }
   }
  }
 ],
 "description": "The whole contract of a bundle; the same file is read by Python, Kotlin and Swift.",
 "properties": {
  "components": {
   "items": {
    "$ref": "#/$defs/ComponentEntry"
   },
   "minItems": 1,
   "title": "Components",
   "type": "array"
  },
  "family": {
   "description": "Which kind of pair it is; says what drives it.",
   "pattern": "^[a-z][a-z0-9_-]{0,63}$",
   "title": "Family",
   "type": "string"
  },
  "files": {
   "description": "Every file but the manifest.",
   "items": {
    "$ref": "#/$defs/FileEntry"
   },
   "maxItems": 4096,
   "minItems": 1,
   "title": "Files",
   "type": "array"
  },
  "licenses": {
   "items": {
    "$ref": "#/$defs/LicenseEntry"
   },
   "minItems": 1,
   "title": "Licenses",
   "type": "array"
  },
  "name": {
   "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$",
   "title": "Name",
   "type": "string"
  },
  "schema_version": {
   "const": 2,
   "title": "Schema Version",
   "type": "integer"
  },
  "settings": {
   "additionalProperties": {
    "$ref": "#/$defs/JsonValue"
   },
   "description": "What the family's pipeline reads beside the components, as the family defines it.",
   "maxProperties": 64,
   "title": "Settings",
   "type": "object"
  },
  "targets": {
   "minProperties": 1,
   "patternProperties": {
    "^[a-z][a-z0-9-]{0,63}(:[a-z0-9]{1,16})?$": {
     "$ref": "#/$defs/TargetEntry"
    }
   },
   "title": "Targets",
   "type": "object"
  },
  "tools": {
   "additionalProperties": {
    "type": "string"
   },
   "description": "Versions of the tools that built the bundle.",
   "title": "Tools",
   "type": "object"
  },
  "training_data": {
   "$ref": "#/$defs/TrainingData"
  }
 },
 "required": [
  "schema_version",
  "name",
  "components",
  "targets",
  "family",
  "settings",
  "licenses",
  "training_data",
  "tools",
  "files"
 ],
 "title": "Manifest",
 "type": "object"
}
"""#
}
