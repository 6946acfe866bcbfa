"""Imported once by the process that interruption.py forks from: all that training and tracing import, and nothing run.

No gradient is computed here: autograd's threads would not be there in the forked processes.
"""

import sklearn.metrics  # noqa: F401
import torch.utils.tensorboard
from accelerate import Accelerator
from transformers import Wav2Vec2Config, Wav2Vec2Model  # noqa: F401

import data.augmentation
import data.taxonomy_protocols  # noqa: F401
import main_train  # noqa: F401
import main_train_taxonomy  # noqa: F401
import models.sastnet_builder
import models.taxonomy
import models.taxonomy_building
import models.w2v_aasist  # noqa: F401
import source_tracing_ood  # noqa: F401
import source_tracing_taxonomy  # noqa: F401
from engine import cached_features, training  # noqa: F401
from prediction import enrolment  # noqa: F401
from reporting import build, sharing  # noqa: F401

Accelerator(cpu=True)
torch.optim.Adam([torch.zeros(1, requires_grad=True)])
