/* SPDX-License-Identifier: Apache-2.0
 *
 * Names: from this program's own debug information (lines, inlined calls), from symbol tables of
 * a stripped copy, from a separate debug file, demangled from libstdc++, below the root of another
 * mount namespace, of a file that has no name any more, and none at all where the file is not the
 * one that was loaded. The figures of a real server are printed.
 */
#include "base/attr.h"
#include "box/reader.h"
#include "support/box_fixture.h"
#include "view/symbol_file.h"
#include "view/symbols.h"
#include "view/view.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/box_snapshot.h"
#include "support/here.h"

static volatile int sink;

/* Two levels of inlined calls; each takes an address in its innermost body. */
static inline __attribute__((always_inline)) void *inner_call(void) {
    sink++;
    void *here;
    ADDRESS_OF_HERE(here);
    sink++;
    return here;
}

static inline __attribute__((always_inline)) void *middle_call(void) {
    sink += 2;
    void *here = inner_call();
    sink += 3;
    return here;
}

/* Has a symbol of its own. */
__attribute__((noinline)) void *outer_function(void) {
    sink += 4;
    void *here = middle_call();
    sink += 5;
    return here;
}

struct scene {
    struct box_fixture *box;
    struct mal_snapshot *snapshot;
    struct view_symbols *symbols;
    struct view_session session;
    char folder[64];
};

static void scene_open(struct scene *scene) {
    scene->snapshot = snapshot_of(scene->box);
    assert_int_equal(view_symbols_create(&scene->symbols), 0);
    assert_int_equal(view_session_begin(&scene->session, scene->symbols, scene->snapshot), 0);
}

static void scene_close(struct scene *scene) {
    view_session_end(&scene->session);
    view_symbols_destroy(scene->symbols);
    mal_snapshot_free(scene->snapshot);
    box_fixture_free(scene->box);
}

static struct view_symbol symbol_at(struct scene *scene, uint64_t address) {
    struct view_symbol symbol;
    size_t module = view_module_of(scene->snapshot, address);
    assert_int_not_equal(module, VIEW_NO_MODULE);
    assert_int_equal(view_session_symbol(&scene->session, module, address, &symbol), 0);
    return symbol;
}

static void test_inlined(void **state) {
    (void)state;
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    scene_open(&scene);
    struct view_symbol symbol = symbol_at(&scene, (uint64_t)(uintptr_t)outer_function());
    assert_int_equal(symbol.source, VIEW_SYMBOL_DWARF);
    assert_int_equal(symbol.frame_count, 3);
    assert_string_equal(symbol.frames[0].name, "inner_call");
    assert_string_equal(symbol.frames[1].name, "middle_call");
    assert_string_equal(symbol.frames[2].name, "outer_function");
    assert_int_equal(symbol.entry, (uint64_t)(uintptr_t)&outer_function);
    for (int i = 0; i < 3; i++) {
        const char *file = symbol.frames[i].file;
        assert_string_equal(view_base_name(file), "test_view_symbols.c");
        assert_int_equal(file[0], '/');
        assert_in_range(symbol.frames[i].line, symbol.frames[i].start_line,
                        symbol.frames[i].start_line + 12);
    }
    assert_true(symbol.frames[0].line < symbol.frames[1].line);
    assert_true(symbol.frames[1].line < symbol.frames[2].line);
    scene_close(&scene);
}

static void test_cxx_names(void **state) {
    (void)state;
    void *library = dlopen("libstdc++.so.6", RTLD_NOW);
    if (!library) {
        print_message("skipped: no libstdc++\n");
        skip();
    }
    void *function = dlsym(library, "_ZNSt8ios_base4InitC1Ev");
    assert_non_null(function);
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    scene_open(&scene);
    struct view_symbol symbol = symbol_at(&scene, (uint64_t)(uintptr_t)function);
    assert_string_equal(symbol.frames[0].name, "std::ios_base::Init::Init()");
    assert_memory_equal(symbol.frames[0].system_name, "_ZNSt8ios_base4InitC", 20);
    assert_int_equal(symbol.entry, (uint64_t)(uintptr_t)function);
    scene_close(&scene);
    dlclose(library);
}

static void check_demangled(const char *name, const char *expected) {
    char *readable = view_demangle(name);
    assert_non_null(readable);
    assert_string_equal(readable, expected);
    free(readable);
}

static void test_demangle(void **state) {
    (void)state;
    check_demangled("_ZN3foo3barEi", "foo::bar(int)");
    check_demangled("_ZNSt6vectorIiSaIiEE9push_backERKi",
                    "std::vector<int, std::allocator<int> >::push_back(int const&)");
    check_demangled("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE",
                    "core::fmt::Write::write_fmt");
    check_demangled("_RNvC7mycrate3foo", "mycrate::foo");
    assert_null(view_demangle("main"));
    assert_null(view_demangle("_Dmain"));
    assert_null(view_demangle("_Z"));
    char *long_name = calloc(1, 100001);
    memset(long_name, '1', 100000);
    memcpy(long_name, "_Z", 2);
    assert_null(view_demangle(long_name));
    free(long_name);
}

/* A file that is not the one loaded gives no names, whatever it holds. */
static void test_other_build(void **state) {
    (void)state;
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    struct mal_box_module *modules = box_fixture_section(scene.box, MAL_BOX_MODULES);
    modules[0].build_id[0] ^= 1;
    scene_open(&scene);
    struct view_symbol symbol = symbol_at(&scene, (uint64_t)(uintptr_t)&outer_function);
    char expected[64];
    snprintf(expected, sizeof(expected), "test_view_symbols+0x%llx",
             (unsigned long long)((uint64_t)(uintptr_t)&outer_function - modules[0].load_bias));
    assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
    assert_string_equal(symbol.frames[0].name, expected);
    assert_string_equal(symbol.frames[0].file, "");
    scene_close(&scene);
}

/* ------------------------------------------------------------------- copies of this program */

static bool run(struct scene *scene, const char *format) {
    char program[512] = "", command[4096];
    assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    snprintf(command, sizeof(command), "cd %s && P=%s && (%s) >/dev/null 2>&1", scene->folder,
             program, format);
    return system(command) == 0;
}

static void make_folder(struct scene *scene) {
    snprintf(scene->folder, sizeof(scene->folder), "/tmp/mallard-test-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
}

/* The address of outer_function in a copy of this program that is said to be loaded at `bias`. */
static uint64_t outer_in_copy(uint64_t bias) {
    Dl_info info;
    assert_int_not_equal(dladdr((void *)(uintptr_t)&test_demangle, &info), 0);
    return (uint64_t)(uintptr_t)&outer_function - (uint64_t)(uintptr_t)info.dli_fbase + bias;
}

static struct view_symbol symbol_in_copy(struct scene *scene, const char *name, uint64_t more) {
    const uint64_t bias = 0x7000000000;
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", scene->folder, name);
    scene->box = box_fixture_new();
    assert_int_not_equal(box_fixture_add_file(scene->box, path, bias), 0);
    scene_open(scene);
    return symbol_at(scene, outer_in_copy(bias) + more);
}

static void test_symbol_table_only(void **state) {
    (void)state;
    struct scene scene = {0};
    make_folder(&scene);
    if (!run(&scene, "objcopy --strip-debug $P copy")) {
        print_message("skipped: no objcopy\n");
        skip();
    }
    struct view_symbol symbol = symbol_in_copy(&scene, "copy", 1);
    assert_int_equal(symbol.source, VIEW_SYMBOL_TABLE);
    assert_int_equal(symbol.frame_count, 1);
    assert_string_equal(symbol.frames[0].name, "outer_function");
    assert_string_equal(symbol.frames[0].file, "");
    assert_int_equal(symbol.entry, outer_in_copy(0x7000000000));
    scene_close(&scene);
    run(&scene, "rm -f copy");
    rmdir(scene.folder);
}

static void test_stripped(void **state) {
    (void)state;
    struct scene scene = {0};
    make_folder(&scene);
    if (!run(&scene, "objcopy --strip-all $P copy"))
        skip();
    /* Not the name of some export that happens to lie before it. */
    struct view_symbol symbol = symbol_in_copy(&scene, "copy", 1);
    assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
    assert_memory_equal(symbol.frames[0].name, "copy+0x", 7);
    scene_close(&scene);
    run(&scene, "rm -f copy");
    rmdir(scene.folder);
}

static void test_debug_link(void **state) {
    (void)state;
    struct scene scene = {0};
    make_folder(&scene);
    if (!run(&scene, "mkdir .debug && objcopy --only-keep-debug $P .debug/extra && "
                     "objcopy --strip-all --add-gnu-debuglink=.debug/extra $P copy"))
        skip();
    struct view_symbol symbol = symbol_in_copy(&scene, "copy", 1);
    assert_int_equal(symbol.source, VIEW_SYMBOL_DWARF);
    assert_string_equal(symbol.frames[symbol.frame_count - 1].name, "outer_function");
    scene_close(&scene);
    /* A debug file of another build is worse than none. */
    assert_true(run(&scene, "objcopy --remove-section=.note.gnu.build-id .debug/extra"));
    symbol = symbol_in_copy(&scene, "copy", 1);
    assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
    scene_close(&scene);
    run(&scene, "rm -f copy .debug/extra && rmdir .debug");
    rmdir(scene.folder);
}

/* Files that are no ELF, cut short or full of noise: no names, no crash. */
static void test_broken_files(void **state) {
    (void)state;
    static const char *const recipes[] = {
        "head -c 100 $P >broken",
        "head -c 5000 $P >broken",
        "cp $P broken && truncate -s 60000 broken",
        "cp $P broken && dd if=/dev/urandom of=broken bs=4096 seek=2 conv=notrunc count=20",
        "cp $P broken && dd if=/dev/urandom of=broken bs=4096 seek=30 conv=notrunc count=400",
    };
    struct scene scene = {0};
    make_folder(&scene);
    for (size_t i = 0; i < MAL_COUNT_OF(recipes); i++) {
        assert_true(run(&scene, "cp $P broken"));
        scene.box = box_fixture_new();
        char path[256];
        snprintf(path, sizeof(path), "%s/broken", scene.folder);
        assert_int_not_equal(box_fixture_add_file(scene.box, path, 0x7000000000), 0);
        assert_true(run(&scene, recipes[i]));
        scene_open(&scene);
        for (uint64_t more = 0; more < 64; more++)
            symbol_at(&scene, outer_in_copy(0x7000000000) + more);
        scene_close(&scene);
    }
    run(&scene, "rm -f broken");
    rmdir(scene.folder);
}

/* ------------------------------------------------------------- files of other mount namespaces */

/* A process whose files are below the scene's folder, and that has `path` loaded. */
static struct view_symbol symbol_below(struct scene *scene, const char *root, const char *path) {
    const uint64_t bias = 0x7000000000;
    char file[256];
    struct view_symbol symbol;
    snprintf(file, sizeof(file), "%s/copy", scene->folder);
    scene->box = box_fixture_new();
    assert_int_not_equal(box_fixture_add_file(scene->box, file, bias), 0);
    scene->snapshot = snapshot_of(scene->box);
    assert_string_equal(scene->snapshot->root, "");
    scene->snapshot->pid = 0;
    scene->snapshot->root = root;
    for (size_t i = 0; i < scene->snapshot->module_count; i++)
        scene->snapshot->modules[i].path = path;
    assert_int_equal(view_symbols_create(&scene->symbols), 0);
    assert_int_equal(view_session_begin(&scene->session, scene->symbols, scene->snapshot), 0);
    symbol = symbol_at(scene, outer_in_copy(bias) + 1);
    return symbol;
}

static enum view_symbol_source source_below(struct scene *scene, const char *root,
                                            const char *path) {
    enum view_symbol_source source = symbol_below(scene, root, path).source;
    scene_close(scene);
    return source;
}

static void test_root(void **state) {
    (void)state;
    struct scene scene = {0};
    char inside[128], outside[128];
    make_folder(&scene);
    assert_true(run(&scene, "cp $P copy && mkdir root root/bin && cp $P root/bin/app"));
    assert_true(run(&scene, "ln -s /bin/app root/link; ln -s ../../../../../bin/app root/bin/up"));
    snprintf(inside, sizeof(inside), "%s/root", scene.folder);
    snprintf(outside, sizeof(outside), "%s/copy", scene.folder);
    assert_int_equal(source_below(&scene, inside, "/bin/app"), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, inside, "//bin/app"), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, inside, "/link"), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, inside, "/bin/up"), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, "", "/bin/app"), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, "/nowhere", "/bin/app"), VIEW_SYMBOL_OFFSET);
    /* The same build lies here under this name too: good enough. */
    assert_int_equal(source_below(&scene, inside, outside), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, inside, "/bin"), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, inside, "relative"), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, inside, ""), VIEW_SYMBOL_OFFSET);
    assert_true(run(&scene, "rm -r copy root"));
    rmdir(scene.folder);
}

/* Without a build-id nothing but the place tells that a file is the right one. */
static void test_root_without_build_id(void **state) {
    (void)state;
    struct scene scene = {0};
    char inside[128], outside[128];
    make_folder(&scene);
    if (!run(&scene, "objcopy --remove-section=.note.gnu.build-id $P copy"))
        skip();
    assert_true(
        run(&scene, "mkdir -p root/bin && cp copy root/bin/app && ln -s $PWD/copy root/out"));
    snprintf(inside, sizeof(inside), "%s/root", scene.folder);
    snprintf(outside, sizeof(outside), "%s/copy", scene.folder);
    assert_int_equal(source_below(&scene, inside, "/bin/app"), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, "", outside), VIEW_SYMBOL_DWARF);
    assert_int_equal(source_below(&scene, inside, outside), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, inside, "/out"), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, inside, "/../copy"), VIEW_SYMBOL_OFFSET);
    assert_true(run(&scene, "rm -r copy root"));
    rmdir(scene.folder);
}

static void test_debug_file_below_root(void **state) {
    (void)state;
    struct scene scene = {0};
    char inside[128];
    make_folder(&scene);
    if (!run(&scene,
             "mkdir -p root/bin/.debug && objcopy --only-keep-debug $P root/bin/.debug/extra"
             " && objcopy --strip-all --add-gnu-debuglink=root/bin/.debug/extra $P copy"))
        skip();
    assert_true(run(&scene, "cp copy root/bin/app"));
    snprintf(inside, sizeof(inside), "%s/root", scene.folder);
    assert_int_equal(source_below(&scene, inside, "/bin/app"), VIEW_SYMBOL_DWARF);
    assert_true(run(&scene, "rm -r copy root"));
    rmdir(scene.folder);
}

/* What is no plain file is not even opened: opening this one would wait for ever. */
static void test_fifo(void **state) {
    (void)state;
    struct scene scene = {0};
    char fifo[128];
    make_folder(&scene);
    assert_true(run(&scene, "cp $P copy && mkfifo fifo"));
    snprintf(fifo, sizeof(fifo), "%s/fifo", scene.folder);
    assert_int_equal(source_below(&scene, "", fifo), VIEW_SYMBOL_OFFSET);
    assert_int_equal(source_below(&scene, scene.folder, "/fifo"), VIEW_SYMBOL_OFFSET);
    assert_true(run(&scene, "rm copy fifo"));
    rmdir(scene.folder);
}

/* A library that was removed while a process has it mapped. */
static void test_deleted_mapped(void **state) {
    (void)state;
    struct scene scene = {0};
    char path[256];
    make_folder(&scene);
    assert_true(run(&scene, "cp $P copy"));
    snprintf(path, sizeof(path), "%s/copy", scene.folder);
    scene.box = box_fixture_new();
    assert_int_not_equal(box_fixture_add_file(scene.box, path, 0x7000000000), 0);
    struct mal_box_module *module = box_fixture_section(scene.box, MAL_BOX_MODULES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t bytes = (size_t)(module->limit - module->start) & ~(size_t)4095;
    void *mapped = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(mapped != MAP_FAILED);
    close(fd);
    module->load_bias += (uint64_t)(uintptr_t)mapped - module->start;
    module->start = (uint64_t)(uintptr_t)mapped;
    module->limit = module->start + bytes;
    uint64_t address = outer_in_copy(module->load_bias) + 1;
    box_fixture_add_own_modules(scene.box); /* so that it is not the program */
    struct mal_box_module other = module[1];
    module[1] = module[0];
    module[0] = other;
    assert_true(run(&scene, "rm copy"));
    char proc[128];
    snprintf(proc, sizeof(proc), "/proc/self/map_files/%llx-%llx",
             (unsigned long long)(uintptr_t)mapped, (unsigned long long)(uintptr_t)mapped + bytes);
    fd = open(proc, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        print_message("skipped: %s cannot be opened\n", proc);
        skip();
    }
    close(fd);
    scene_open(&scene);
    struct view_symbol symbol;
    assert_int_equal(view_session_symbol(&scene.session, 1, address, &symbol), 0);
    assert_int_equal(symbol.source, VIEW_SYMBOL_DWARF);
    assert_string_equal(symbol.frames[symbol.frame_count - 1].name, "outer_function");
    scene_close(&scene);
    munmap(mapped, bytes);
    rmdir(scene.folder);
}

/* ------------------------------------------------------------------------------------- store */

struct fake_store {
    int loads, saves;
    size_t saved;
    struct view_module_key key;
};

static int fake_load(void *context, const struct view_module_key *key,
                     struct view_symbol_sink *into) {
    static const struct view_frame frame = {.name = "kept", .system_name = "k", .file = "f"};
    const struct view_symbol symbol = {&frame, 1, VIEW_SYMBOL_TABLE, 0x10};
    struct fake_store *store = context;
    store->loads++;
    store->key = *key;
    assert_int_equal(view_symbol_sink_add(into, 0x20, &symbol), 0);
    return view_symbol_sink_add(into, 0x20, &symbol);
}

static void fake_save(void *context, const struct view_module_key *key,
                      const struct view_known_symbol *symbols, size_t count) {
    struct fake_store *store = context;
    store->saves++;
    store->saved += count;
    store->key = *key;
    for (size_t i = 0; i < count; i++)
        assert_int_not_equal(symbols[i].symbol.source, VIEW_SYMBOL_OFFSET);
}

static void ask_again(struct scene *scene) {
    view_session_end(&scene->session);
    assert_int_equal(view_session_begin(&scene->session, scene->symbols, scene->snapshot), 0);
}

static void test_store(void **state) {
    (void)state;
    struct fake_store store = {0};
    const struct view_symbols_store hooks = {fake_load, fake_save, &store};
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    scene_open(&scene);
    view_session_end(&scene.session);
    view_symbols_set_store(scene.symbols, &hooks);
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    struct view_symbol symbol;
    uint64_t bias = scene.snapshot->modules[0].load_bias;
    assert_int_equal(view_session_symbol(&scene.session, 0, bias + 0x20, &symbol), 0);
    assert_string_equal(symbol.frames[0].name, "kept");
    assert_int_equal(symbol.entry, bias + 0x10);
    ask_again(&scene);
    assert_int_equal(store.loads, 1);
    assert_int_equal(store.saves, 0); /* nothing that it did not say itself */
    assert_int_equal(strlen(store.key.name), 2 * scene.snapshot->modules[0].build_id_bytes);
    symbol_at(&scene, (uint64_t)(uintptr_t)outer_function());
    assert_int_equal(view_session_symbol(&scene.session, 0, bias + 1, &symbol), 0);
    assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
    ask_again(&scene);
    assert_int_equal(store.loads, 1);
    assert_int_equal(store.saves, 1);
    assert_int_equal(store.saved, 1);
    symbol_at(&scene, (uint64_t)(uintptr_t)outer_function());
    ask_again(&scene);
    assert_int_equal(store.saves, 1);
    scene.snapshot->owner_uid++; /* another user's program of the same build-id is another */
    symbol_at(&scene, (uint64_t)(uintptr_t)outer_function());
    ask_again(&scene);
    assert_int_equal(store.loads, 2);
    assert_int_equal(store.saves, 2);
    assert_int_equal(store.key.owner_uid, scene.snapshot->owner_uid);
    scene_close(&scene);
}

/* Once the file is there, what was made up without it is asked for again. */
static void test_file_comes_later(void **state) {
    (void)state;
    struct scene scene = {0};
    make_folder(&scene);
    assert_true(run(&scene, "cp $P copy"));
    struct view_symbol symbol = symbol_below(&scene, "", "/nowhere/copy");
    assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
    char path[256];
    snprintf(path, sizeof(path), "%s/copy", scene.folder);
    for (size_t i = 0; i < scene.snapshot->module_count; i++)
        scene.snapshot->modules[i].path = path;
    uint64_t address = outer_in_copy(0x7000000000) + 1;
    assert_int_equal(symbol_at(&scene, address).source,
                     VIEW_SYMBOL_OFFSET); /* valid till the end */
    ask_again(&scene);
    assert_int_equal(symbol_at(&scene, address).source, VIEW_SYMBOL_DWARF);
    scene_close(&scene);
    assert_true(run(&scene, "rm copy"));
    rmdir(scene.folder);
}

static size_t open_files(void) {
    DIR *stream = opendir("/proc/self/fd");
    size_t count = 0;
    while (readdir(stream))
        count++;
    closedir(stream);
    return count;
}

static void test_rest(void **state) {
    (void)state;
    size_t before = open_files();
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    scene_open(&scene);
    symbol_at(&scene, (uint64_t)(uintptr_t)outer_function());
    ask_again(&scene);
    assert_true(open_files() > before);
    view_session_end(&scene.session);
    view_symbols_rest(scene.symbols);
    assert_int_equal(open_files(), before);
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    assert_int_equal(symbol_at(&scene, (uint64_t)(uintptr_t)outer_function()).source,
                     VIEW_SYMBOL_DWARF);
    scene_close(&scene);
}

/* A box may hold addresses without end; the cache does not. */
static void test_made_up_addresses(void **state) {
    (void)state;
    struct scene scene = {.box = box_fixture_new()};
    const struct mal_box_module module = {.start = 1 << 20, .limit = 1 << 30};
    box_fixture_add_module(scene.box, &module, "/nowhere/lib");
    scene_open(&scene);
    for (uint64_t address = 1 << 20; address < (1 << 20) + 400000; address++) {
        struct view_symbol symbol = symbol_at(&scene, address);
        assert_int_equal(symbol.source, VIEW_SYMBOL_OFFSET);
        assert_memory_equal(symbol.frames[0].name, "lib", 3);
    }
    view_session_end(&scene.session);
    assert_in_range(view_symbols_bytes(scene.symbols), 1 << 20, 17 << 20);
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    assert_string_equal(symbol_at(&scene, 1 << 20).frames[0].name, "lib+0x100000");
    scene_close(&scene);
}

/* ------------------------------------------------------------------------------------- cache */

static void *render(void *context) {
    const struct scene *scene = context;
    struct view_buffer out = {0};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(view_heap_proto(scene->snapshot, scene->symbols, VIEW_HEAP, &out), 0);
        view_buffer_reset(&out);
    }
    view_buffer_free(&out);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct scene scene = {.box = box_fixture_typical()};
    scene_open(&scene);
    view_session_end(&scene.session);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render, &scene), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    scene_close(&scene);
}

/* Of CPU time: the machine may be busy. */
static double seconds_of(const struct scene *scene) {
    struct view_buffer out = {0};
    clock_t begin = clock();
    assert_int_equal(view_heap_proto(scene->snapshot, scene->symbols, VIEW_HEAP, &out), 0);
    clock_t end = clock();
    view_buffer_free(&out);
    return (double)(end - begin) / CLOCKS_PER_SEC;
}

/* A thousand stacks of twenty frames all over one big binary. */
static void time_binary(const char *path) {
    struct scene scene = {.box = box_fixture_new()};
    uint64_t start = box_fixture_add_file(scene.box, path, 0x5500000000);
    if (start == 0) {
        print_message("skipped: no %s\n", path);
        box_fixture_free(scene.box);
        return;
    }
    const struct mal_box_module *module = box_fixture_section(scene.box, MAL_BOX_MODULES);
    uint64_t span = module->limit - start, at = 12345;
    for (int i = 0; i < 1000; i++) {
        uint64_t pcs[20];
        for (int k = 0; k < 20; k++) {
            at = at * 6364136223846793005u + 1442695040888963407u;
            pcs[k] = start + (at >> 33) % 4000 * (span / 4000);
        }
        box_fixture_add_bucket(scene.box, box_fixture_add_stack(scene.box, pcs, 20), 64, 524288, 10,
                               3);
    }
    scene_open(&scene);
    view_session_end(&scene.session);
    double first = seconds_of(&scene), second = seconds_of(&scene);
    print_message("%s: first %.1f ms, second %.1f ms\n", path, first * 1e3, second * 1e3);
#ifndef MAL_SANITIZED
    assert_true(first < 2.0);
    assert_true(second < 0.1);
#endif
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    scene_close(&scene);
}

static void test_speed(void **state) {
    (void)state;
    char program[512] = "";
    assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    time_binary("/usr/bin/redis-server");
    time_binary(program);
}

static void test_symbol_text(void **state) {
    (void)state;
    struct scene scene = {.box = box_fixture_new()};
    box_fixture_add_own_modules(scene.box);
    scene_open(&scene);
    view_session_end(&scene.session);
    struct view_buffer out = {0};
    char request[128], expected[256];
    uint64_t address = (uint64_t)(uintptr_t)&outer_function;
    snprintf(request, sizeof(request), "0x%llx+junk+0+0x1++-5+%llu", (unsigned long long)address,
             (unsigned long long)address);
    snprintf(expected, sizeof(expected),
             "num_symbols: 1\n0x%llx outer_function\n0x%llx outer_function\n",
             (unsigned long long)address, (unsigned long long)address);
    assert_int_equal(
        view_symbol_text(scene.snapshot, scene.symbols, request, strlen(request), &out), 0);
    assert_string_equal(out.data, expected);
    view_buffer_reset(&out);
    assert_int_equal(view_symbol_text(scene.snapshot, scene.symbols, "", 0, &out), 0);
    assert_string_equal(out.data, "num_symbols: 1\n");
    view_buffer_reset(&out);
    char *token = malloc(5000);
    memset(token, '1', 5000);
    assert_int_equal(view_symbol_text(scene.snapshot, scene.symbols, token, 5000, &out), 0);
    assert_string_equal(out.data, "num_symbols: 1\nreading request: bufio: buffer full\n");
    free(token);
    view_buffer_free(&out);
    assert_int_equal(view_session_begin(&scene.session, scene.symbols, scene.snapshot), 0);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inlined),
        cmocka_unit_test(test_cxx_names),
        cmocka_unit_test(test_demangle),
        cmocka_unit_test(test_other_build),
        cmocka_unit_test(test_symbol_table_only),
        cmocka_unit_test(test_stripped),
        cmocka_unit_test(test_debug_link),
        cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_symbol_text),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_root_without_build_id),
        cmocka_unit_test(test_debug_file_below_root),
        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_deleted_mapped),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_file_comes_later),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_made_up_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
