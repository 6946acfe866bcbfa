PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: install test quick lint demo

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-demo.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

test: install lint
	$(RUN) -m pytest

quick: install
	$(RUN) -m pytest -m "not slow"

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# The whole paper on a corpus of its own: make demo, or make demo MODEL=Rawaasist.
MODEL ?= mellcnn
CORPUS ?= demo-corpus
DEMO = runs/demo-$(MODEL)
# RawAASIST takes 0.7 GB of memory a clip in training.
TRAIN_mellcnn = --num_epochs 8
TRAIN_Rawaasist = --num_epochs 2 --batch_size 8
TRAIN_W2VAASIST = --num_epochs 8 --SSL_path tiny-random
CONTINUE = $(if $(wildcard $(DEMO)/model/last/state.pt),--continue_training)
TRACE = --data_root $(CORPUS) --model_folder $(DEMO)/model --result $(DEMO)/result --save_feats $(DEMO)/save_feats
EVALUATE = --data_root $(CORPUS) --result $(DEMO)/result --save_feats $(DEMO)/save_feats

demo: install
	$(RUN) make_demo_corpus.py --data_root $(CORPUS)
	$(RUN) main_train.py --data_root $(CORPUS) --model $(MODEL) -o $(DEMO)/model $(TRAIN_$(MODEL)) $(CONTINUE)
	$(RUN) source_tracing_id.py $(TRACE)
	$(RUN) source_tracing_id_other.py $(TRACE)
	$(RUN) source_tracing_ood.py $(TRACE)
	$(RUN) source_tracing_ALM.py $(TRACE)
	@echo; $(RUN) evaluate_id_f1.py $(EVALUATE) --json $(DEMO)/result/id_f1.json
	@echo; $(RUN) evaluate_id_config.py $(EVALUATE) --json $(DEMO)/result/id_config.json
	@echo; $(RUN) evaluate_id_source.py $(EVALUATE) --json $(DEMO)/result/id_source.json
	@echo; $(RUN) evaluate_id_unseenreal.py $(EVALUATE) --json $(DEMO)/result/id_unseenreal.json
	@echo; $(RUN) ood_detector_e2e.py $(EVALUATE) --json $(DEMO)/result/ood.json
	@echo; $(RUN) evaluate_alm.py $(EVALUATE) --json $(DEMO)/result/alm.json
	@echo; $(RUN) plot_results.py $(EVALUATE)
