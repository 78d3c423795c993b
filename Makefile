# Mallard: a memory allocator you can ask.
#
# `make demo` and `make check` are all that a newcomer needs; `make help` lists the rest.
# Everything is built under build/$(VARIANT), so that sanitizer objects never mix with others.

CC ?= gcc
AR ?= ar
OBJCOPY ?= objcopy
CFLAGS ?= -O2 -g
LDFLAGS ?=
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
DESTDIR ?=
VARIANT ?= release
V ?= 0
WEB ?= 1

VERSION := 0.1.0
SOVERSION := 0
OUT := build/$(VARIANT)
comma := ,
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-8s %s\n' '$(1)' '$(2)')

ifeq ($(filter $(VARIANT),release debug asan tsan fuzz aarch64 lockstats),)
$(error VARIANT is '$(VARIANT)': one of release, debug, asan, tsan, fuzz, aarch64, lockstats)
endif

# What each variant adds. Sanitizer builds keep the sanitizer's malloc: prefixed names only.
debug_FLAGS := -O1 -fno-omit-frame-pointer -DMAL_DEBUG=2
asan_FLAGS := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DMAL_DEBUG=1 -DMAL_SANITIZED=1
fuzz_FLAGS := $(asan_FLAGS) -fsanitize=fuzzer-no-link
tsan_FLAGS := -O1 -fno-omit-frame-pointer -fsanitize=thread -DMAL_DEBUG=1 -DMAL_SANITIZED=1 -DMAL_STOPS_BY_NOTE=1
aarch64_FLAGS := -DMAL_DEBUG=1
lockstats_FLAGS := -DMAL_LOCK_STATS=1
VARIANT_FLAGS := $($(VARIANT)_FLAGS)
ifeq ($(VARIANT),aarch64)
CC := aarch64-linux-gnu-gcc
AR := aarch64-linux-gnu-ar
OBJCOPY := aarch64-linux-gnu-objcopy
endif
OVERRIDE := $(if $(filter release debug aarch64 lockstats,$(VARIANT)),1,0)

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
        -Wcast-align -Wwrite-strings -Wvla -Wundef -Werror
BASE_FLAGS := -std=gnu11 -D_GNU_SOURCE -DMAL_VERSION='"$(VERSION)"' -Isrc -Iinclude -Iproto \
        -fvisibility=hidden -fno-common -pthread -MMD -MP $(WARN)
CORE_FLAGS := $(BASE_FLAGS) -fPIC -ftls-model=initial-exec -fno-builtin-malloc -fno-builtin-free \
        -fno-builtin-calloc -fno-builtin-realloc -fno-semantic-interposition \
        -fasynchronous-unwind-tables -DMAL_OVERRIDE=$(OVERRIDE)
# All code of the core goes into one section with known bounds: stacks leave its frames out.
ONE_SECTION = $(OBJCOPY) --rename-section .text=mal_text --rename-section .text.unlikely=mal_text \
        --rename-section .text.hot=mal_text --rename-section __rseq_failure=mal_text
PLANE_FLAGS := $(BASE_FLAGS) -fPIC -I$(OUT)/gen
PLANE_LIBS := -lmicrohttpd -lprotobuf-c -ldw -lelf -liberty -lz -lm

CORE_DIRS := base os meta box pageheap central cache sample gc front
CORE_SRC := $(filter-out src/box/reader%.c,$(foreach d,$(CORE_DIRS),$(wildcard src/$(d)/*.c)))
READER_SRC := $(wildcard src/box/reader*.c)
VIEW_SRC := $(wildcard src/view/*.c)
HTTP_SRC := $(wildcard src/http/*.c)
KEEP_SRC := $(wildcard src/keep/*.c)
DAEMON_SRC := $(wildcard src/daemon/*.c)
CLI_SRC := $(wildcard src/cli/*.c)
GCLIB_SRC := $(wildcard src/gclib/*.c)
BDWGC_SRC := $(wildcard src/bdwgc/*.c)
PLUGIN_SRC := $(filter src/http/plugin%.c,$(HTTP_SRC))
HTTP_LIB_SRC := $(filter-out $(PLUGIN_SRC),$(HTTP_SRC))

obj = $(patsubst %.c,$(OUT)/%.o,$(1))
CORE_OBJ := $(call obj,$(CORE_SRC))
# The folder of boxes is a matter of writers and readers alike.
PLANE_OBJ := $(call obj,$(READER_SRC) src/box/place.c $(VIEW_SRC) $(KEEP_SRC) $(HTTP_LIB_SRC)) $(OUT)/gen/profile.pb-c.o $(OUT)/gen/assets.o
PLUGIN_OBJ := $(call obj,$(PLUGIN_SRC))
CLI_OBJ := $(call obj,$(CLI_SRC))
GCLIB_OBJ := $(call obj,$(GCLIB_SRC))
BDWGC_OBJ := $(call obj,$(BDWGC_SRC))
DAEMON_OBJ := $(call obj,$(DAEMON_SRC))

CORE_SO := $(OUT)/libmallard.so.$(SOVERSION)
GCLIB_SO := $(OUT)/libmallard-gc.so.$(SOVERSION)
BDWGC_SO := $(OUT)/libmallard-bdwgc.so.$(SOVERSION)
PLUGIN_SO := $(OUT)/libmallard-http.so

.DEFAULT_GOAL := all
.PHONY: all
all: core plane ## build everything

include tests/targets.mk

.PHONY: core plane
core: $(CORE_SO) $(OUT)/libmallard.a $(OUT)/mallard.pc $(GCLIB_SO) $(BDWGC_SO) $(OUT)/mallard-gc.pc $(OUT)/mallard-bdwgc.pc ## the allocator: libmallard.so, libmallard.a, mallard.pc; libmallard-gc.so, libmallard-bdwgc.so
plane: $(PLUGIN_SO) $(OUT)/mallard $(if $(DAEMON_SRC),$(OUT)/mallardd) ## what reads boxes: libmallard-http.so, mallard, mallardd

# A change of flags rebuilds what it touches.
FLAGS_NOW := $(CC) $(CFLAGS) $(LDFLAGS) $(VARIANT_FLAGS) $(BASE_FLAGS) $(CORE_FLAGS)
$(OUT)/flags.stamp: FORCE
	@mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $@ || \
	  printf '%s\n' '$(subst ','\'',$(FLAGS_NOW))' > $@
.PHONY: FORCE
FORCE:

$(CORE_OBJ): $(OUT)/%.o: %.c $(OUT)/flags.stamp
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CORE_FLAGS) $(VARIANT_FLAGS) -c $< -o $@
	$(Q)$(ONE_SECTION) $@

$(call obj,$(READER_SRC) $(VIEW_SRC) $(KEEP_SRC) $(HTTP_SRC) $(CLI_SRC) $(DAEMON_SRC)): $(OUT)/%.o: %.c $(OUT)/flags.stamp | $(OUT)/gen/profile.pb-c.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(PLANE_FLAGS) $(VARIANT_FLAGS) -c $< -o $@

# The generated encoder is not ours to warn about.
$(OUT)/gen/profile.pb-c.h: proto/profile.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(@D)
	$(Q)protoc-c --proto_path=proto --c_out=$(@D) $<
$(OUT)/gen/profile.pb-c.o: $(OUT)/gen/profile.pb-c.h
	$(call say,CC,$(OUT)/gen/profile.pb-c.c)
	$(Q)$(CC) $(CFLAGS) -fPIC $(VARIANT_FLAGS) -I$(OUT)/gen -c $(OUT)/gen/profile.pb-c.c -o $@

# The page is built by npm in a copy of web/, so that sources stay sources, and is then compressed
# into one C file. WEB=0, or a machine without npm, builds an empty table: pages are plain HTML.
WEB_SRC := $(shell test -e web/package.json && find web -name node_modules -prune -o -type f -print)
NPM := $(if $(filter 0,$(WEB)),,$(if $(WEB_SRC),$(shell command -v npm)))
WEB_DIST := build/web/dist
WEB_TREE := build/web/tree
$(WEB_TREE)/node_modules/.installed: $(filter web/package.json web/package-lock.json,$(WEB_SRC))
	$(call say,NPM,web/package-lock.json)
	@mkdir -p $(WEB_TREE) && cp $^ $(WEB_TREE)/
	$(Q)cd $(WEB_TREE) && npm ci --no-audit --no-fund --loglevel=error >npm.log 2>&1 || { cat npm.log; \
	  echo "npm ci failed; 'make WEB=0' builds without the page" >&2; exit 1; }
	@touch $@
$(WEB_DIST)/manifest.json: $(WEB_SRC) $(WEB_TREE)/node_modules/.installed
	$(call say,WEB,$(WEB_DIST))
	@mkdir -p $(WEB_TREE) && tar -cf - --exclude=node_modules -C web . | tar -xf - -C $(WEB_TREE)
	$(Q)cd $(WEB_TREE) && npm run --silent build -- $(CURDIR)/$(WEB_DIST) >build.log 2>&1 || { cat build.log; exit 1; }
	@touch $@
$(OUT)/gen/assets.c: src/http/assets.sh $(if $(NPM),$(WEB_DIST)/manifest.json) $(OUT)/web.stamp
	$(call say,$(if $(NPM),EMBED,NOTE),$(if $(NPM),$(WEB_DIST),no page in this build$(comma) its pages are plain HTML))
	@mkdir -p $(@D)
	$(Q)sh $< $(if $(NPM),$$(ls $(WEB_DIST)/app-*.js $(WEB_DIST)/app-*.css $(WEB_DIST)/report.html)) > $@.new && mv $@.new $@
$(OUT)/web.stamp: FORCE
	@mkdir -p $(@D); echo '$(NPM)' | cmp -s - $@ || echo '$(NPM)' > $@
$(OUT)/gen/assets.o: $(OUT)/gen/assets.c src/http/assets.h
	$(Q)$(CC) $(CFLAGS) $(PLANE_FLAGS) $(VARIANT_FLAGS) -c $< -o $@

$(CORE_SO): $(CORE_OBJ) src/front/libmallard.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -shared -o $@ $(CORE_OBJ) -Wl,-soname,libmallard.so.$(SOVERSION) \
	  -Wl,--version-script=src/front/libmallard.map $(if $(filter 1,$(OVERRIDE)),-Wl$(comma)-z$(comma)defs) -Wl,-z,relro -Wl,-z,now \
	  -Wl,-z,nodelete -Wl,--as-needed $(LDFLAGS)
	@ln -sf libmallard.so.$(SOVERSION) $(OUT)/libmallard.so

# A program linked statically has its own dlopen.
ARCHIVE_OBJ := $(filter-out %/os/dlopen.o,$(CORE_OBJ))
$(OUT)/libmallard.a: $(ARCHIVE_OBJ)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(ARCHIVE_OBJ)

# It stands before libc's functions, so none of them may be checked or replaced by the compiler.
GCLIB_FLAGS := $(BASE_FLAGS) -fPIC -fno-builtin -U_FORTIFY_SOURCE -fasynchronous-unwind-tables
$(GCLIB_OBJ): $(OUT)/%.o: %.c $(OUT)/flags.stamp
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(GCLIB_FLAGS) $(VARIANT_FLAGS) -c $< -o $@
$(GCLIB_SO): $(GCLIB_OBJ) $(CORE_SO)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -shared -o $@ $(GCLIB_OBJ) -Wl,-soname,libmallard-gc.so.$(SOVERSION) \
	  -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete $(if $(filter 1,$(OVERRIDE)),-Wl$(comma)-z$(comma)defs) \
	  -Wl,--as-needed $(LDFLAGS) -L$(OUT) -lmallard
	@ln -sf libmallard-gc.so.$(SOVERSION) $(OUT)/libmallard-gc.so

# Boehm's names. A binary that was linked with Boehm's library finds it as bdwgc/libgc.so.1.
BDWGC_FLAGS := $(BASE_FLAGS) -fPIC -fasynchronous-unwind-tables
$(BDWGC_OBJ): $(OUT)/%.o: %.c $(OUT)/flags.stamp
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(BDWGC_FLAGS) $(VARIANT_FLAGS) -c $< -o $@
$(BDWGC_SO): $(BDWGC_OBJ) $(GCLIB_SO) $(CORE_SO)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -shared -o $@ $(BDWGC_OBJ) -Wl,-soname,libmallard-bdwgc.so.$(SOVERSION) \
	  -Wl,-z,relro -Wl,-z,now -Wl,-z,nodelete $(if $(filter 1,$(OVERRIDE)),-Wl$(comma)-z$(comma)defs) \
	  $(LDFLAGS) -L$(OUT) -Wl,--no-as-needed -lmallard-gc -lmallard -Wl,--as-needed
	@ln -sf libmallard-bdwgc.so.$(SOVERSION) $(OUT)/libmallard-bdwgc.so
	@mkdir -p $(OUT)/bdwgc && ln -sf ../libmallard-bdwgc.so.$(SOVERSION) $(OUT)/bdwgc/libgc.so.1

$(OUT)/mallard.pc: src/front/mallard.pc.in
$(OUT)/mallard-gc.pc: src/gclib/mallard-gc.pc.in
$(OUT)/mallard-bdwgc.pc: src/bdwgc/mallard-bdwgc.pc.in
$(OUT)/mallard.pc $(OUT)/mallard-gc.pc $(OUT)/mallard-bdwgc.pc: Makefile
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCLUDEDIR@|$(INCLUDEDIR)|; s|@VERSION@|$(VERSION)|' $(filter %.in,$^) > $@

$(PLUGIN_SO): $(PLUGIN_OBJ) $(PLANE_OBJ) src/http/plugin.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -shared -o $@ $(PLUGIN_OBJ) $(PLANE_OBJ) \
	  -Wl,--version-script=src/http/plugin.map -Wl,-Bsymbolic -Wl,-z,relro -Wl,-z,now \
	  -Wl,--as-needed $(LDFLAGS) $(PLANE_LIBS)

$(OUT)/mallard: $(CLI_OBJ) $(PLANE_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -o $@ $(CLI_OBJ) $(PLANE_OBJ) -Wl,--as-needed $(LDFLAGS) $(PLANE_LIBS)

$(OUT)/mallardd: $(DAEMON_OBJ) $(PLANE_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(VARIANT_FLAGS) -o $@ $(DAEMON_OBJ) $(PLANE_OBJ) -Wl,--as-needed $(LDFLAGS) $(PLANE_LIBS)

-include $(CORE_OBJ:.o=.d) $(GCLIB_OBJ:.o=.d) $(BDWGC_OBJ:.o=.d) $(PLANE_OBJ:.o=.d) $(PLUGIN_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(DAEMON_OBJ:.o=.d)

include deploy/install.mk

.PHONY: clean help debug asan tsan compile_commands.json
debug: ## unit tests and the collector's mutators with every assertion on
	$(Q)$(MAKE) --no-print-directory VARIANT=debug check-unit
asan: ## the tests of debug under AddressSanitizer and UBSan
	$(Q)$(MAKE) --no-print-directory VARIANT=asan CC=clang check-unit
tsan: ## the tests of debug under ThreadSanitizer
	$(Q)$(MAKE) --no-print-directory VARIANT=tsan CC=clang check-unit
compile_commands.json: ## for editors and clang-tidy (needs bear)
	bear -- $(MAKE) -B all
clean: ## remove build/
	rm -rf build
print-%: ## print a make variable
	@echo '$($*)'
help: ## this list
	@sed -n 's/^\([a-z_.-]*\):.*## \(.*\)/  \1\t\2/p' Makefile tests/targets.mk deploy/install.mk | sort | awk -F '\t' '{printf "%-22s %s\n", $$1, $$2}'
