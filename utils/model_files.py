"""Names of the files in the folder of a trained model."""

RUN_JSON = "args.json"  # the flags, data and versions of its training
LOG = "log.jsonl"  # a line for each epoch
CHECKPOINT = "anti-spoofing_feat_model.pt"
SHARED_CHECKPOINT = "model.safetensors"  # the same, of a model that is given to others
SHARED_CONFIG = "config.json"  # what RUN_JSON says, of such a model
CALIBRATION_JSON = "calibration.json"
CALIBRATION_TENSORS = "calibration.safetensors"
MODEL_FILES = (RUN_JSON, LOG, CHECKPOINT, SHARED_CHECKPOINT, SHARED_CONFIG, CALIBRATION_JSON, CALIBRATION_TENSORS)
