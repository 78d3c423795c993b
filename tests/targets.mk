# How the tests are built and run. Included by the Makefile.
#
# tests/unit/core/test_*.c   link the core's objects, prefixed names only (mallard_malloc ...)
# tests/unit/plane/test_*.c  link reader, view and http; no core
# tests/support/*.c          goes into every unit test

UNIT_CORE := $(patsubst tests/unit/core/%.c,$(OUT)/tests/core/%,$(wildcard tests/unit/core/test_*.c))
UNIT_PLANE := $(patsubst tests/unit/plane/%.c,$(OUT)/tests/plane/%,$(wildcard tests/unit/plane/test_*.c))
SUPPORT_SRC := $(wildcard tests/support/*.c)
SUPPORT_OBJ := $(call obj,$(SUPPORT_SRC))
TEST_FLAGS := $(BASE_FLAGS) -Itests -I$(OUT)/gen -Wno-missing-prototypes

# Unit tests call prefixed names; their own copy of the core never overrides malloc.
UNIT_CORE_OBJ := $(patsubst %.c,$(OUT)/unit/%.o,$(CORE_SRC))
$(UNIT_CORE_OBJ): $(OUT)/unit/%.o: %.c $(OUT)/flags.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(CORE_FLAGS) $(VARIANT_FLAGS) -UMAL_OVERRIDE -DMAL_OVERRIDE=0 -c $< -o $@
	$(Q)$(ONE_SECTION) $@
$(SUPPORT_OBJ): $(OUT)/%.o: %.c $(OUT)/flags.stamp
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) -c $< -o $@
$(UNIT_CORE): $(OUT)/tests/core/%: tests/unit/core/%.c $(UNIT_CORE_OBJ) $(SUPPORT_OBJ)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) $< $(UNIT_CORE_OBJ) $(SUPPORT_OBJ) -o $@ $(LDFLAGS) -lcmocka -lm -ldl
$(UNIT_PLANE): $(OUT)/tests/plane/%: tests/unit/plane/%.c $(PLANE_OBJ) $(SUPPORT_OBJ)
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(TEST_FLAGS) $(VARIANT_FLAGS) $< $(PLANE_OBJ) $(SUPPORT_OBJ) -o $@ $(LDFLAGS) -lcmocka $(PLANE_LIBS) -lm
-include $(UNIT_CORE_OBJ:.o=.d) $(SUPPORT_OBJ:.o=.d) $(UNIT_CORE:=.d) $(UNIT_PLANE:=.d)
