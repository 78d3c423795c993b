# How the tests are built and run. Included by the Makefile.
#
# tests/unit/core/test_*.c     link the core's objects, prefixed names only (mallard_malloc ...)
# tests/unit/plane/test_*.c    link reader, view and http; no core
# tests/support/*.c            goes into every unit test
# tests/conformance/*.c        plain programs, run under the library; the scripts beside them judge
# tests/conformance/death/*.c  one misuse each
# tests/fuzz/fuzz_*.c          libFuzzer targets; replayed over a corpus without libFuzzer
# tests/e2e/*.mjs              the page in a real browser; web/test/*.test.js its models without one
#
# Every target installs what it needs first: tests/support/install-deps.sh names the sets.

DEPS = sh tests/support/install-deps.sh
RUNNER = python3 tests/support/runner.py

TEST_FLAGS := $(BASE_FLAGS) -Itests -I$(OUT)/gen -Wno-missing-prototypes
UNIT_CORE := $(patsubst tests/unit/core/%.c,$(OUT)/tests/core/%,$(wildcard tests/unit/core/test_*.c))
UNIT_PLANE := $(patsubst tests/unit/plane/%.c,$(OUT)/tests/plane/%,$(wildcard tests/unit/plane/test_*.c))
SUPPORT_OBJ := $(call obj,$(wildcard tests/support/*.c))

# Unit tests call prefixed names; their own copy of the core never overrides malloc.
UNIT_CORE_OBJ := $(patsubst %.c,$(OUT)/unit/%.o,$(CORE_SRC))
$(UNIT_CORE_OBJ): $(OUT)/unit/%.o: %.c $(OUT)/flags.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CORE_FLAGS) $(VARIANT_FLAGS) -UMAL_OVERRIDE -DMAL_OVERRIDE=0 -c $< -o $@
	$(Q)$(ONE_SECTION) $@
$(SUPPORT_OBJ): $(OUT)/%.o: %.c $(OUT)/flags.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) -c $< -o $@
$(UNIT_CORE): $(OUT)/tests/core/%: tests/unit/core/%.c $(UNIT_CORE_OBJ)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) $< $(UNIT_CORE_OBJ) -o $@ $(LDFLAGS) -lcmocka -lm -ldl
# Tests of a program's parts link the program too, all but its main.
CLI_PARTS := $(filter-out %/cli/main.o,$(CLI_OBJ))
DAEMON_PARTS := $(filter-out %/daemon/main.o,$(DAEMON_OBJ))
parts_of = $(if $(filter test_cli_%,$(1)),$(CLI_PARTS))$(if $(filter test_daemon_%,$(1)),$(DAEMON_PARTS))
$(filter $(OUT)/tests/plane/test_cli_%,$(UNIT_PLANE)): $(CLI_PARTS)
$(filter $(OUT)/tests/plane/test_daemon_%,$(UNIT_PLANE)): $(DAEMON_PARTS)
$(UNIT_PLANE): $(OUT)/tests/plane/%: tests/unit/plane/%.c $(PLANE_OBJ) $(SUPPORT_OBJ)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) $< $(call parts_of,$(@F)) $(PLANE_OBJ) $(SUPPORT_OBJ) -o $@ $(LDFLAGS) -lcmocka $(PLANE_LIBS)
-include $(UNIT_CORE_OBJ:.o=.d) $(SUPPORT_OBJ:.o=.d) $(UNIT_CORE:=.d) $(UNIT_PLANE:=.d)

# Programs that know nothing of Mallard, or only its public API and the reader.
# What is written for Boehm's header is built by its test.
PROGRAM_SRC := $(filter-out tests/programs/bdwgc.c,$(wildcard tests/programs/*.c)) $(wildcard tests/conformance/*.c tests/conformance/death/*.c tests/stress/*.c tests/bench/*.c tests/bench/workloads/*.c)
PROGRAM_CPP_SRC := $(wildcard tests/programs/*.cc tests/conformance/*.cc tests/bench/workloads/*.cc)
PROGRAMS := $(patsubst tests/%.c,$(OUT)/tests/bin/%,$(PROGRAM_SRC)) $(patsubst tests/%.cc,$(OUT)/tests/bin/%,$(PROGRAM_CPP_SRC))
BENCH_PROGRAMS := $(filter-out %/unwind %/gc_mark,$(filter $(OUT)/tests/bin/bench/%,$(PROGRAMS)))
PROGRAM_FLAGS := -std=gnu11 -D_GNU_SOURCE -Isrc -Iinclude -Itests -O2 -g -fno-builtin-malloc -fno-builtin-free -fno-builtin-realloc -fno-builtin-calloc -pthread -Wall -Wextra
$(OUT)/tests/bin/%: tests/%.c
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PROGRAM_FLAGS) -MMD -MP -MF $@.d $< -o $@ $(PROGRAM_LIBS_$(notdir $*)) -lm -ldl
-include $(PROGRAMS:=.d)
$(OUT)/tests/bin/%: tests/%.cc
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)g++ -Iinclude -O2 -g -Wall -Wextra -pthread $< -o $@ -ldl

# What of them needs more than libc.
READER_OBJ := $(call obj,$(READER_SRC) src/box/place.c src/base/format.c)
PROGRAM_LIBS_look = $(READER_OBJ)
PROGRAM_LIBS_serve = $(PLANE_OBJ) $(PLANE_LIBS)
PROGRAM_LIBS_faults = -rdynamic
# Calls that return twice get landing pads where there are such.
PROGRAM_LIBS_vfork = $(if $(filter x86_64-%,$(shell $(CC) -dumpmachine)),-fcf-protection=full)
PROGRAM_LIBS_example = -L$(OUT) -lmallard
PROGRAM_LIBS_gc_example = -L$(OUT) -lmallard-gc -lmallard
$(OUT)/tests/bin/programs/gc_example: $(GCLIB_SO)
# Programs of the collected heap.
GC_PROGRAMS := gc_extras gc_misuse gc_signal gc_torture gc_hardships gc_cycles gc_strangers gc_uring collecting
$(foreach p,$(GC_PROGRAMS),$(eval PROGRAM_LIBS_$(p) = -L$(OUT) -lmallard))
PROGRAM_LIBS_gc_linked = -L$(OUT) -lmallard-gc -lmallard
$(OUT)/tests/bin/stress/gc_linked: | $(GCLIB_SO)
$(patsubst %,$(OUT)/tests/bin/stress/%,gc_torture gc_hardships gc_strangers gc_uring): | $(CORE_SO)
PROGRAM_LIBS_unwind = $(UNIT_CORE_OBJ) -lunwind
PROGRAM_LIBS_gc_mark = $(UNIT_CORE_OBJ)
$(OUT)/tests/bin/conformance/look: $(READER_OBJ)
$(OUT)/tests/bin/conformance/serve: $(PLANE_OBJ)
$(filter $(OUT)/tests/bin/conformance/% $(OUT)/tests/bin/programs/%,$(PROGRAMS)): | $(CORE_SO)
$(OUT)/tests/bin/bench/unwind $(OUT)/tests/bin/bench/gc_mark: $(UNIT_CORE_OBJ)
$(patsubst tests/%.c,$(OUT)/tests/bin/%,$(wildcard tests/bench/workloads/*.c)) $(patsubst %,$(OUT)/tests/bin/bench/%,micro memory scraped): tests/bench/workloads/load.h tests/bench/workloads/churn.h

# One program over three heaps, and the same ones in Go.
GC_BENCH := $(patsubst tests/bench/gc/%.c,$(OUT)/tests/bin/bench/gc/%,$(wildcard tests/bench/gc/*.c))
GC_BENCH_FLAGS := -std=gnu11 -D_GNU_SOURCE -Iinclude -O2 -g -pthread -Wall -Wextra
$(GC_BENCH:=.mallard): $(OUT)/tests/bin/bench/gc/%.mallard: tests/bench/gc/%.c tests/bench/gc/heap.h tests/support/program.h include/mallard/gc.h | $(GCLIB_SO)
	$(call say,TEST,$< $(suffix $@))
	@mkdir -p $(@D)
	$(Q)$(CC) $(GC_BENCH_FLAGS) -DHEAP_MALLARD $< -o $@ -L$(OUT) -lmallard-gc -lmallard -Wl,-rpath,$(abspath $(OUT))
$(GC_BENCH:=.boehm): $(OUT)/tests/bin/bench/gc/%.boehm: tests/bench/gc/%.c tests/bench/gc/heap.h tests/support/program.h
	$(call say,TEST,$< $(suffix $@))
	@mkdir -p $(@D)
	$(Q)$(CC) $(GC_BENCH_FLAGS) -DHEAP_BOEHM $< -o $@ -lgc
$(GC_BENCH:=.malloc): $(OUT)/tests/bin/bench/gc/%.malloc: tests/bench/gc/%.c tests/bench/gc/heap.h tests/support/program.h
	$(call say,TEST,$< $(suffix $@))
	@mkdir -p $(@D)
	$(Q)$(CC) $(GC_BENCH_FLAGS) $< -o $@
$(OUT)/tests/bin/bench/gc/twins: tests/bench/gc/go/main.go
	$(call say,GO,$<)
	@mkdir -p $(@D)
	$(Q)GO111MODULE=off GOCACHE=$(abspath $(OUT))/gocache go build -o $@ ./$(<D)

# Failures of the field, before and after their remedy.
SCENARIOS := $(patsubst tests/scenarios/%.c,$(OUT)/tests/bin/scenarios/%,$(wildcard tests/scenarios/*.c))
$(SCENARIOS): $(OUT)/tests/bin/scenarios/%: tests/scenarios/%.c tests/scenarios/scene.h tests/support/program.h $(wildcard include/mallard/*.h) | $(GCLIB_SO)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(GC_BENCH_FLAGS) $< -o $@ -L$(OUT) -lmallard-gc -lmallard -Wl,-rpath,$(abspath $(OUT))

# What stops the world has the engine's inside and the wrappers in one program.
WORLD_PROGRAMS := $(patsubst %,$(OUT)/tests/bin/stress/%,gc_world gc_calls gc_roots)
$(foreach p,gc_world gc_calls gc_roots,$(eval PROGRAM_LIBS_$(p) = $(UNIT_CORE_OBJ) $(GCLIB_OBJ) -rdynamic))
$(WORLD_PROGRAMS): $(UNIT_CORE_OBJ) $(GCLIB_OBJ) tests/stress/gc_world.h $(OUT)/tests/bin/stress/lib/gc_tls.so
$(OUT)/tests/bin/stress/lib/gc_tls.so: tests/stress/lib/gc_tls.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O2 -g -fPIC -shared -Wall -Wextra $< -o $@

# Two libraries that differ in a name of five letters.
REPLACED_LIBS := $(patsubst %,$(OUT)/tests/bin/conformance/lib/lib%.so,alpha delta)
$(REPLACED_LIBS): $(OUT)/tests/bin/conformance/lib/lib%.so: tests/conformance/lib/replaced.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -g -fPIC -shared -Wall -Wextra -DNAME=$* $< -o $@
$(OUT)/tests/bin/conformance/replaced: $(REPLACED_LIBS)

# Allocators that are not ours: one of its own, and one that asks the next.
OTHER_LIBS := $(patsubst %,$(OUT)/tests/bin/conformance/lib%.so,other forwarding)
$(OTHER_LIBS): $(OUT)/tests/bin/conformance/lib%.so: tests/conformance/lib/%_malloc.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -g -fPIC -shared -fno-builtin -Wall -Wextra $< -o $@
$(OUT)/tests/bin/conformance/libpretending.so: tests/conformance/lib/pretending.c
	@mkdir -p $(@D)
	$(Q)$(CC) -O1 -g -fPIC -shared -fno-builtin -Wall -Wextra $< -o $@
$(OUT)/tests/bin/conformance/beside: $(OTHER_LIBS) $(OUT)/tests/bin/conformance/libpretending.so $(OUT)/tests/bin/conformance/death/foreign_stack

$(OUT)/tests/bin/stress/gc_hardships: $(OUT)/tests/bin/stress/lib/gc_tls.so
$(OUT)/tests/bin/stress/torture: tests/stress/model.h

# The mutators with the core in one program, and a sanitizer in the core. Theirs is not: they race
# with the marker, which is what the collector is for.
TORTURE_INSIDE := $(OUT)/tests/bin/stress/gc_torture_inside
$(TORTURE_INSIDE): tests/stress/gc_torture.c $(UNIT_CORE_OBJ)
	$(call say,TEST,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PROGRAM_FLAGS) -c $< -o $@.o
	$(Q)$(CC) $(VARIANT_FLAGS) $@.o $(UNIT_CORE_OBJ) -o $@ -pthread -lm -ldl

# What drives the browser.
E2E_MODULES := tests/e2e/node_modules/.package-lock.json

# Fuzzing: the same target as a replayer (any compiler) and as a fuzzer (clang).
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_OBJ_alloc = $(UNIT_CORE_OBJ)
FUZZ_OBJ_box_reader = $(PLANE_OBJ) $(SUPPORT_OBJ)
FUZZ_OBJ_http = $(PLANE_OBJ) $(SUPPORT_OBJ)
FUZZ_OBJ_keep = $(PLANE_OBJ) $(SUPPORT_OBJ)
FUZZ_LIBS_box_reader = $(PLANE_LIBS)
FUZZ_LIBS_http = $(PLANE_LIBS)
FUZZ_LIBS_keep = $(PLANE_LIBS)
FUZZ_SECONDS ?= 60
define FUZZ_RULES
$(OUT)/tests/replay_$(1): tests/fuzz/fuzz_$(1).c tests/fuzz/replay_main.c $$(FUZZ_OBJ_$(1))
	$$(call say,FUZZ,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(TEST_FLAGS) $$(VARIANT_FLAGS) $$^ -o $$@ $$(FUZZ_LIBS_$(1)) -lm -ldl
$(OUT)/tests/fuzz_$(1): tests/fuzz/fuzz_$(1).c $$(FUZZ_OBJ_$(1))
	$$(call say,FUZZ,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(TEST_FLAGS) $$(VARIANT_FLAGS) -fsanitize=fuzzer $$^ -o $$@ $$(FUZZ_LIBS_$(1)) -lm -ldl
endef
$(foreach f,$(FUZZERS),$(eval $(call FUZZ_RULES,$(f))))
$(OUT)/tests/corpus_box_reader: tests/fuzz/corpus_box_reader.c $(SUPPORT_OBJ)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) $^ -o $@

.PHONY: check check-unit check-conformance check-programs check-programs-large check-deb check-aarch64 check-web e2e torture soak fuzz bench bench-cpus bench-daemon bench-gc-mark bench-instructions bench-locks bench-memory bench-sampling bench-scrape bench-start bench-unwind gc-torture golden demo lint format deps tests bench-gc scenarios
deps: ## install the packages that building and testing need
	@$(DEPS) build test demo deploy web

tests: $(UNIT_CORE) $(UNIT_PLANE) $(PROGRAMS) ## build every test program

unit_runs = $(foreach t,$(1),$(notdir $(t))=$(t))
REPLAYS = $(foreach f,$(FUZZERS),replay_$(f)='$(OUT)/tests/replay_$(f) -random=3,1 tests/fuzz/corpus/$(f)/*')

# The parser that judges the Containerfile comes from npm.
CONTAINERFILE_TOOLS := build/containerfile/node_modules
$(CONTAINERFILE_TOOLS): tests/support/containerfile/package-lock.json
	$(call say,NPM,$<)
	@mkdir -p $(@D)
	@cp tests/support/containerfile/package*.json $(@D)/
	$(Q)npm ci --prefix $(@D) --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

CONFORMANCE_RUNS = \
  death='python3 tests/conformance/death.py $(CORE_SO) $(OUT)/tests/bin/conformance/death' \
  truth='python3 tests/conformance/truth.py $(CORE_SO) $(OUT)/tests/bin/conformance' \
  memstats='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/memstats' \
  $(foreach m,both swap append,gc_torture_$m='$(call GC_TORTURE,uffd,$m) && $(call GC_TORTURE,none,$m)') \
  collecting='python3 tests/conformance/collecting.py $(OUT)' \
  gc_misuse='LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/conformance/gc_misuse' \
  gc_signal='python3 tests/conformance/gc_signal.py $(OUT) $(OUT)/tests/bin/conformance/gc_signal' \
  gc_trace='python3 tests/conformance/gc_trace.py $(OUT) $(OUT)/tests/bin/conformance/gc_cycles' \
  gc_hardships='GC_HARDSHIPS_WAYS=1 LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_hardships' \
  gc_linked='LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_linked' \
  gc_strangers='LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_strangers' \
  gc_uring='LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_uring' \
  $(foreach w,uffd none,gc_extras_$w='MALLARD_DEBUG=gcdirty=$w LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/conformance/gc_extras') \
  names='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/names' \
  operators='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/operators' \
  operators_own='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/operators_own' \
  regressions='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/regressions' \
  vfork='LD_PRELOAD=$(CORE_SO) $(OUT)/tests/bin/conformance/vfork' \
  alone='python3 tests/conformance/alone.py $(CORE_SO) $(OUT)/tests/bin/conformance/alone $(OUT)/mallard' \
  replaced='python3 tests/conformance/replaced.py $(CORE_SO) $(OUT)/tests/bin/conformance $(OUT)/mallard' \
  beside='python3 tests/conformance/beside.py $(CORE_SO) $(OUT)/tests/bin/conformance $(OUT)/mallard' \
  scavenge='python3 tests/conformance/scavenge.py $(CORE_SO) $(OUT)/tests/bin/conformance $(OUT)/mallard' \
  traced='python3 tests/conformance/traced.py $(CORE_SO) $(OUT)/tests/bin/conformance/traced' \
  stepped='python3 tests/conformance/stepped.py $(CORE_SO) $(OUT)/tests/bin/conformance/stepped' \
  limit='python3 tests/conformance/limit.py $(CORE_SO) $(OUT)/tests/bin/conformance $(OUT)/mallard' \
  faults='python3 tests/conformance/faults.py $(CORE_SO) $(OUT)/tests/bin/conformance' \
  hostile='python3 tests/conformance/hostile.py $(CORE_SO) $(OUT)/tests/bin/conformance $(OUT)/mallard' \
  http='python3 tests/conformance/http_conformance.py $(OUT)/mallard' \
  api='python3 tests/conformance/api.py $(OUT)/mallard' \
  http_security='python3 tests/conformance/http_security.py $(OUT)/mallard' \
  http_viewers='python3 tests/conformance/http_viewers.py $(OUT)/tests/bin/conformance/serve $(CORE_SO) $(OUT)/mallardd' \
  http_scrapers='python3 tests/conformance/http_scrapers.py $(OUT)/tests/bin/conformance/serve $(CORE_SO)' \
  http_plugin='python3 tests/conformance/http_plugin.py $(CORE_SO)' \
  cli='python3 tests/conformance/cli.py $(OUT)/mallard' \
  cli_watch='python3 tests/conformance/cli_watch.py $(OUT)/mallard $(OUT)/mallardd' \
  cli_completion='python3 tests/conformance/cli_completion.py $(OUT)/mallard $(OUT)/mallardd' \
  man='python3 tests/conformance/man.py $(OUT)/mallard $(OUT)/mallardd' \
  gc_calls='$(OUT)/tests/bin/stress/gc_calls' \
  gc_roots='$(OUT)/tests/bin/stress/gc_roots' \
  gc_world='$(OUT)/tests/bin/stress/gc_world 0.3' \
  daemon='python3 tests/conformance/daemon.py $(OUT)' \
  daemon_hostile='python3 tests/conformance/daemon_hostile.py $(OUT)' \
  torture='TORTURE_SECONDS=20 python3 tests/stress/torture.py $(OUT)' \
  yardstick='python3 tests/conformance/yardstick.py $(OUT)' \
  cpus='python3 tests/bench/cpus.py $(OUT)/tests/bin/bench/cpus $(CORE_SO) --counts 1,64 --idle 1 --check' \
  soak='SOAK_SECONDS=10 python3 tests/stress/soak.py $(OUT)' \
  deploy='python3 tests/conformance/deploy.py $(OUT)' \
  deploy_monitoring='python3 tests/conformance/deploy_monitoring.py $(OUT)' \
  deploy_prometheus='python3 tests/conformance/deploy_prometheus.py $(OUT)' \
  deploy_containers='python3 tests/conformance/deploy_containers.py $(OUT) $(CONTAINERFILE_TOOLS)' \
  gc_types='python3 tests/conformance/gc_types.py' \
  bdwgc='python3 tests/programs/bdwgc.py $(OUT)' \
  gc_example='python3 tests/programs/gc_example.py $(OUT)' \
  instructions="$(INSTRUCTIONS)" \
  example='LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/programs/example $(OUT)/tests/example.pb.gz && go tool pprof -top $(OUT)/tests/example.pb.gz >/dev/null'
GC_TORTURE = GC_TORTURE_SECONDS=4 GC_TORTURE_MIB=16 GC_TORTURE_FORKS=1 GC_TORTURE_MUTATOR=$(2) MALLARD_DEBUG=gccheckmark=1,gcdirty=$(1) LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_torture
INSTRUCTIONS = python3 tests/bench/instructions.py $(OUT)/tests/bin/bench/count $(CORE_SO) --compiler '$(CC) $(CFLAGS)'
PAGE_RUNS = page='cd web && npm test --silent'
LINT_RUNS = \
  sources='python3 tests/lint/sources.py' \
  layers='python3 tests/lint/layers.py' \
  length='python3 tests/lint/length.py' \
  needed='sh tests/lint/needed.sh $(OUT)' \
  headers='sh tests/lint/headers.sh $(OUT)' \
  format='sh tests/lint/format.sh' \
  shell='sh tests/lint/shell.sh' \
  faults='python3 -B tests/lint/faults.py'

check: ## install what is missing, build, run every test, end with the counts
	@$(DEPS) build test demo deploy web
	@$(MAKE) --no-print-directory all tests $(CONTAINERFILE_TOOLS) $(foreach f,$(FUZZERS),$(OUT)/tests/replay_$(f))
	@$(RUNNER) $(call unit_runs,$(UNIT_CORE) $(UNIT_PLANE)) $(CONFORMANCE_RUNS) $(PAGE_RUNS) $(REPLAYS) $(LINT_RUNS)

# AddressSanitizer: locals must lie on the stacks that are looked at, and forks of a program with
# threads leave its own locks taken. ThreadSanitizer: the world is stopped by notes (os/critical.h),
# and no forks, after which it starts no threads.
INSIDE = GC_TORTURE_SECONDS=5 GC_TORTURE_MIB=16 GC_TORTURE_FORKS=$(if $(filter asan tsan,$(VARIANT)),0,1) \
  ASAN_OPTIONS=detect_stack_use_after_return=0
INSIDE_RUNS = $(foreach w,uffd none,\
  gc_torture_$w='$(INSIDE) MALLARD_DEBUG=gccheckmark=1$(comma)gcdirty=$w $(TORTURE_INSIDE)')

check-unit: ## unit tests of this VARIANT, and where it can be the collector's mutators
	@$(DEPS) build test
	@$(MAKE) --no-print-directory $(UNIT_CORE) $(UNIT_PLANE) $(if $(INSIDE_RUNS),$(TORTURE_INSIDE))
	@$(RUNNER) $(call unit_runs,$(UNIT_CORE) $(UNIT_PLANE)) $(INSIDE_RUNS)

check-programs: ## real programs with and without the library, outputs compared
	@$(DEPS) build programs
	@$(MAKE) --no-print-directory core
	@python3 tests/programs/run.py --lib $(CURDIR)/$(CORE_SO)
	@python3 tests/programs/bdwgc.py $(OUT)

check-programs-large: all ## more of them, as far as they are installed: servers with sandboxes, browsers, offices
	@python3 tests/programs/large.py --lib $(CURDIR)/$(CORE_SO)

check-deb: deb ## the packages installed, used, removed and purged, and the service booted, on copies of this system
	@lintian --allow-root --fail-on error build/deb/*.deb
	@$(MAKE) --no-print-directory $(OUT)/tests/bin/programs/leak
	@$(RUNNER) deb='python3 tests/programs/deb.py build/deb' \
	  service='python3 tests/programs/service.py build/deb $(OUT)/tests/bin/programs/leak'

check-aarch64: ## build for aarch64 and run the core's unit tests under qemu
	@$(DEPS) build aarch64
	@sh tests/support/aarch64.sh

check-web: ## the page's models, without a browser
	@$(DEPS) web
	@cd web && npm test --silent

$(E2E_MODULES): tests/e2e/package-lock.json
	@cd $(<D) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

e2e: ## the page in a real Chromium, its pictures in build/e2e
	@$(DEPS) build web e2e
	@$(MAKE) -s --no-print-directory all $(OUT)/tests/bin/e2e/leak $(E2E_MODULES)
	@node tests/e2e/main.mjs $(OUT) build/e2e

torture: ## every object owned by a model, under signals, migration, forks, ends of threads, readers, pressure; TORTURE_SECONDS=600 SEED=
	@$(MAKE) --no-print-directory -s all $(OUT)/tests/bin/stress/torture
	@python3 tests/stress/torture.py $(OUT)

gc-torture: ## adversarial mutators on the collected heap, each one each way of marking; GC_TORTURE_SECONDS=600 _THREADS=3 _MIB=64 _SEED= _FORKS=
	@$(MAKE) --no-print-directory core $(OUT)/tests/bin/stress/gc_torture $(OUT)/tests/bin/stress/gc_hardships
	@for mutator in swap append; do for way in uffd none; do echo "== $$mutator, $$way"; \
	  MALLARD_DEBUG=gccheckmark=1,gcdirty=$$way LD_LIBRARY_PATH=$(OUT) GC_TORTURE_MUTATOR=$$mutator \
	  GC_TORTURE_SECONDS=$${GC_TORTURE_SECONDS:-600} $(OUT)/tests/bin/stress/gc_torture || exit 1; done; done
	@LD_LIBRARY_PATH=$(OUT) $(OUT)/tests/bin/stress/gc_hardships

soak: ## mallardd among 50 short-lived processes a second; SOAK_SECONDS=120 SOAK_RATE=50 SOAK_SEED=
	@$(DEPS) build test
	@$(MAKE) --no-print-directory all $(OUT)/tests/bin/stress/fleeting
	@python3 tests/stress/soak.py $(OUT)

fuzz: ## libFuzzer on every target, FUZZ_SECONDS each
	@$(DEPS) build test
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang $(foreach f,$(FUZZERS),build/fuzz/tests/fuzz_$(f)) build/fuzz/tests/corpus_box_reader
	@mkdir -p build/corpus/box_reader && build/fuzz/tests/corpus_box_reader build/corpus/box_reader
	@for f in $(FUZZERS); do mkdir -p build/corpus/$$f tests/fuzz/corpus/$$f; echo "== $$f"; \
	  build/fuzz/tests/fuzz_$$f -max_len=65536 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 build/corpus/$$f tests/fuzz/corpus/$$f || exit 1; done

BENCH_OPTIONS = --lib $(CORE_SO) --bin $(OUT)/tests/bin/bench $(if $(PEERS),--peers $(PEERS)) $(if $(EXTRA),--extra $(EXTRA)) $(if $(SCALE),--scale $(SCALE)) $(if $(PATIENCE),--patience $(PATIENCE))
bench: ## workloads and real programs beside glibc, jemalloc, tcmalloc, mimalloc; BENCH= PEERS= EXTRA= REPS= SCALE=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core $(BENCH_PROGRAMS)
	@python3 tests/bench/bench.py $(BENCH_OPTIONS) $(if $(BENCH),--bench $(BENCH)) $(if $(REPS),--reps $(REPS))

bench-sampling: ## time with sampling on and off, and with everything sampled; BENCH= REPS= SCALE=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core $(BENCH_PROGRAMS)
	@python3 tests/bench/sampling.py $(BENCH_OPTIONS) $(if $(BENCH),--bench $(BENCH)) $(if $(REPS),--reps $(REPS))
bench-start: ## start-up of a trivial program under each allocator, and its memory
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core $(BENCH_PROGRAMS)
	@python3 tests/bench/start.py $(BENCH_OPTIONS) $(if $(RUNS),--runs $(RUNS))
bench-memory: ## how memory goes back over time, beside the others; SCENARIO= TIME=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core plane $(BENCH_PROGRAMS)
	@python3 tests/bench/memory.py $(BENCH_OPTIONS) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(TIME),--time $(TIME))
bench-scrape: ## what a scrape costs a program that runs flat out; REPS= SCALE= WINDOW=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core plane $(BENCH_PROGRAMS)
	@python3 tests/bench/scrape.py $(BENCH_OPTIONS) $(if $(REPS),--reps $(REPS)) $(if $(WINDOW),--window $(WINDOW))
bench-gc: ## the collected heap beside Boehm's collector, Go and malloc; BENCH= REPS= SCALE=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core $(OUT)/tests/bin/bench/launch $(GC_BENCH:=.mallard) $(GC_BENCH:=.boehm) $(GC_BENCH:=.malloc) $(OUT)/tests/bin/bench/gc/twins
	@python3 tests/bench/gc.py $(BENCH_OPTIONS) $(if $(BENCH),--bench $(BENCH)) $(if $(REPS),--reps $(REPS))
scenarios: ## failures of the field, before and after their remedy, with the collector's trace
	@$(DEPS) build
	@$(MAKE) --no-print-directory -s core $(SCENARIOS)
	@python3 tests/scenarios/scenarios.py $(dir $(firstword $(SCENARIOS)))
bench-locks: ## who waits for which lock, from a build that counts; SCALE= WORKLOADS= CPUS=
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s VARIANT=lockstats core
	@$(MAKE) --no-print-directory -s $(BENCH_PROGRAMS)
	@python3 tests/bench/locks.py $(OUT)/tests/bin/bench/workloads build/lockstats/libmallard.so.$(SOVERSION) \
	  $(if $(SCALE),--scale $(SCALE)) $(if $(WORKLOADS),--workloads $(WORKLOADS)) $(if $(CPUS),--cpus $(CPUS))
bench-cpus: ## resident memory by CPUs, simulated; COUNTS=1,2,4,8,16,32,64
	@$(MAKE) --no-print-directory -s core $(OUT)/tests/bin/bench/cpus
	@python3 tests/bench/cpus.py $(OUT)/tests/bin/bench/cpus $(CORE_SO) $(if $(COUNTS),--counts $(COUNTS))
golden: ## renew the instruction counts that make check compares
	@$(DEPS) build
	@$(MAKE) --no-print-directory -s core $(OUT)/tests/bin/bench/count
	@$(INSTRUCTIONS) --renew
bench-instructions: ## instructions per operation, beside the other allocators
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s core $(OUT)/tests/bin/bench/count
	@$(INSTRUCTIONS) --peers

bench-daemon: ## what mallardd costs with 200 real small processes; BENCH_PROCESSES=200 BENCH_SECONDS=60
	@$(DEPS) build bench
	@$(MAKE) --no-print-directory -s all
	@python3 tests/bench/daemon.py $(OUT)

bench-gc-mark: $(OUT)/tests/bin/bench/gc_mark ## the collected heap's marker: 1 GiB of shuffled 64-byte objects; MIB= WORKERS=
	@$< $(or $(MIB),1024) $(or $(WORKERS),1)

bench-unwind: $(OUT)/tests/bin/bench/unwind ## one stack capture beside libgcc and libunwind
	@$<

demo: ## redis under a load, its heap through go tool pprof; endpoints on 127.0.0.1:6060 until Ctrl-C
	@$(DEPS) build demo
	@$(MAKE) --no-print-directory all $(OUT)/tests/bin/programs/demo_c $(OUT)/tests/bin/programs/demo_cpp
	@sh tests/support/demo.sh $(OUT)

lint: ## formatting, layers, lengths, headers, exports, and that each of these finds its faults
	@$(DEPS) build test
	@$(MAKE) --no-print-directory core $(OUT)/gen/profile.pb-c.h
	@$(RUNNER) $(LINT_RUNS)
format: ## run clang-format over all sources
	find src include tests -name node_modules -prune -o -name '*.[ch]' -print | xargs clang-format -i
