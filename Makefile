PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: install test quick lint bench demo demo-taxonomy

install: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-demo.txt requirements-export.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# A worker for each core, each with one thread: threads of two workers on one core wait for one another.
WORKERS ?= auto
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist worksteal

test: install lint
	$(PYTEST)

quick: install
	$(PYTEST) -m "not slow"

lint: install
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# A table a stage, and benchmarks/results/*.json; see benchmarks/README.md.
bench: install
	@for script in $(filter-out benchmarks/common.py,$(sort $(wildcard benchmarks/*.py))); do \
		echo; echo "$$script"; $(RUN) $$script || exit 1; \
	done

# The whole paper on a corpus of its own: make demo, or make demo MODEL=Rawaasist.
MODEL ?= mellcnn
CORPUS ?= demo-corpus
DEMO = runs/demo-$(MODEL)
# RawAASIST takes 0.5 GB of memory a clip in training.
TRAIN_mellcnn = --num_epochs 10 --batch_size 6 --lr 0.001 --interval 3
TRAIN_Rawaasist = --num_epochs 2 --batch_size 8
TRAIN_fingerprint = --num_epochs 3 --lr 0.002
TRAIN_W2VAASIST = --num_epochs 8 --SSL_path tiny-random
CONTINUE = $(if $(wildcard $(DEMO)/model/last/state.pt),--continue_training)
TRACE = --data_root $(CORPUS) --model_folder $(DEMO)/model --result $(DEMO)/result --save_feats $(DEMO)/save_feats
EVALUATE = --data_root $(CORPUS) --result $(DEMO)/result --save_feats $(DEMO)/save_feats

demo: install
	$(RUN) -m demo.make_corpus --data_root $(CORPUS)
	$(RUN) main_train.py --data_root $(CORPUS) --model $(MODEL) -o $(DEMO)/model $(TRAIN_$(MODEL)) $(CONTINUE)
	$(RUN) source_tracing_id.py $(TRACE)
	$(RUN) source_tracing_id_other.py $(TRACE)
	$(RUN) source_tracing_ood.py $(TRACE)
	$(RUN) source_tracing_ALM.py $(TRACE)
	$(RUN) calibrate.py $(TRACE)
	@echo; $(RUN) evaluate_id_f1.py $(EVALUATE) --json $(DEMO)/result/id_f1.json
	@echo; $(RUN) evaluate_id_config.py $(EVALUATE) --json $(DEMO)/result/id_config.json
	@echo; $(RUN) evaluate_id_source.py $(EVALUATE) --json $(DEMO)/result/id_source.json
	@echo; $(RUN) evaluate_id_unseenreal.py $(EVALUATE) --json $(DEMO)/result/id_unseenreal.json
	@echo; $(RUN) ood_detector_e2e.py $(EVALUATE) --json $(DEMO)/result/ood.json
	@echo; $(RUN) evaluate_open_set.py $(TRACE) --json $(DEMO)/result/open_set.json
	@echo; $(RUN) evaluate_alm.py $(EVALUATE) --json $(DEMO)/result/alm.json
	@echo; $(RUN) report.py $(TRACE)

# The taxonomy system on the same corpus: M1 from random weights, then a small SASTNet that starts from M1's front end.
TAXONOMY = runs/demo-taxonomy
TAXONOMY_CORPUS = --data_root $(TAXONOMY)/corpus --codec_table $(TAXONOMY)/corpus/metadata/codecs.txt
TAXONOMY_TRAIN = $(TAXONOMY_CORPUS) --algo 0 --batch_size 4
M1 = $(TAXONOMY)/m1
SAST = $(TAXONOMY)/sastnet

demo-taxonomy: install
	$(RUN) -m demo.make_corpus --data_root $(CORPUS)
	$(RUN) -m demo.make_taxonomy --demo_root $(CORPUS) --data_root $(TAXONOMY)/corpus
	$(RUN) main_train_taxonomy.py $(TAXONOMY_TRAIN) --model_type M1 --sampling_strategy VQ --SSL_path tiny-random \
		--num_epochs 5 --lr 7e-4 --lr_decay 0.6 \
		-o $(M1)/model $(if $(wildcard $(M1)/model/last/state.pt),--continue_training)
	$(RUN) main_train_taxonomy.py $(TAXONOMY_TRAIN) --model SASTNet --task Bin --sampling_strategy VQ --size small \
		--no_pretrained --tuned_weight $(M1)/model/anti-spoofing_feat_model.pt --num_epochs 2 --lr 7e-4 \
		-o $(SAST)/model $(if $(wildcard $(SAST)/model/last/state.pt),--continue_training)
	$(RUN) source_tracing_taxonomy.py $(TAXONOMY_CORPUS) --model_folder $(M1)/model --result $(M1)/result
	$(RUN) source_tracing_taxonomy.py $(TAXONOMY_CORPUS) --model_folder $(SAST)/model --result $(SAST)/result
	@echo; echo M1; $(RUN) evaluate_taxonomy.py $(TAXONOMY_CORPUS) --result $(M1)/result --json $(M1)/result/metrics.json
	@echo; echo SASTNet; $(RUN) evaluate_taxonomy.py $(TAXONOMY_CORPUS) --result $(SAST)/result --json $(SAST)/result/metrics.json
