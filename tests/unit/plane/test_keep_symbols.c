/* SPDX-License-Identifier: Apache-2.0
 *
 * Names that outlive the files they came from: a copy of this program is resolved and removed, and
 * a new cache on the same store still knows. And what the store must not do: grow without bounds,
 * keep names that were made up, believe one user about another's programs, or what a line says that
 * breaks a rule.
 */
#include "base/attr.h"
#include "keep/keep_private.h"
#include "support/box_fixture.h"
#include "view/symbols.h"

#include <dirent.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/box_snapshot.h"
#include "support/here.h"
#include "support/temp_folder.h"

#define BIAS 0x7000000000

static volatile int sink;

static inline __attribute__((always_inline)) void *inner_call(void) {
    sink++;
    void *here;
    ADDRESS_OF_HERE(here);
    sink++;
    return here;
}

__attribute__((noinline)) void *outer_function(void) {
    sink += 4;
    void *here = inner_call();
    sink += 5;
    return here;
}

struct scene {
    char top[TEMP_FOLDER_BYTES];
    char program[TEMP_FOLDER_BYTES + 16];
    char names[TEMP_FOLDER_BYTES + 32]; /* the folder of names */
    struct keep_store *store;
    struct mal_snapshot *snapshot; /* of a process that runs the copy */
    uint64_t address;              /* inside of inner_call there */
};

static bool shell(const struct scene *scene, const char *format) {
    char self[512] = "", command[2048];
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    snprintf(command, sizeof(command), "cd %s && P=%s && (%s) >/dev/null 2>&1", scene->top, self,
             format);
    return system(command) == 0;
}

/* `recipe` makes the file "copy" out of $P. */
static void scene_open(struct scene *scene, const char *recipe) {
    char keep[TEMP_FOLDER_BYTES + 16];
    Dl_info info;
    temp_folder_make(scene->top);
    if (!shell(scene, recipe)) {
        print_message("skipped: no objcopy\n");
        skip();
    }
    snprintf(scene->program, sizeof(scene->program), "%s/copy", scene->top);
    snprintf(keep, sizeof(keep), "%s/keep", scene->top);
    snprintf(scene->names, sizeof(scene->names), "%s/symbols", keep);
    assert_int_equal(keep_store_open(keep, KEEP_WRITE, &scene->store, NULL), 0);
    struct box_fixture *box = box_fixture_new();
    assert_int_not_equal(box_fixture_add_file(box, scene->program, BIAS), 0);
    scene->snapshot = snapshot_of(box);
    scene->snapshot->pid = 0; /* dead: /proc knows nothing of it */
    box_fixture_free(box);
    assert_int_not_equal(dladdr((void *)(uintptr_t)&outer_function, &info), 0);
    scene->address =
        (uint64_t)(uintptr_t)outer_function() - (uint64_t)(uintptr_t)info.dli_fbase + BIAS;
}

static void scene_close(struct scene *scene) {
    mal_snapshot_free(scene->snapshot);
    keep_store_close(scene->store);
    temp_folder_remove(scene->top);
}

enum answer { ANSWER_MADE_UP, ANSWER_TABLE, ANSWER_DWARF, ANSWER_OTHER };

/* What a new cache says of the address, checked where it is right. */
static enum answer ask(struct scene *scene, struct keep_store *store, uint64_t address) {
    struct view_symbols *symbols;
    struct view_session session;
    struct view_symbol symbol;
    enum answer answer = ANSWER_OTHER;
    assert_int_equal(view_symbols_create(&symbols), 0);
    if (store)
        assert_int_equal(keep_symbols_attach(store, symbols), 0);
    assert_int_equal(view_session_begin(&session, symbols, scene->snapshot), 0);
    size_t module = view_module_of(scene->snapshot, address);
    assert_int_equal(view_session_symbol(&session, module, address, &symbol), 0);
    if (symbol.source == VIEW_SYMBOL_OFFSET) {
        assert_memory_equal(symbol.frames[0].name, "copy+0x", 7);
        answer = ANSWER_MADE_UP;
    } else if (symbol.source == VIEW_SYMBOL_TABLE) {
        assert_string_equal(symbol.frames[0].name, "outer_function");
        answer = ANSWER_TABLE;
    } else if (strcmp(symbol.frames[0].name, "inner_call") == 0) {
        assert_int_equal(symbol.frame_count, 2);
        assert_string_equal(symbol.frames[1].name, "outer_function");
        assert_string_equal(symbol.frames[1].system_name, "outer_function");
        assert_string_equal(view_base_name(symbol.frames[0].file), "test_keep_symbols.c");
        assert_in_range(symbol.frames[0].line, symbol.frames[0].start_line,
                        symbol.frames[0].start_line + 12);
        assert_true(symbol.frames[1].line > symbol.frames[0].line);
        answer = ANSWER_DWARF;
    }
    if (answer == ANSWER_TABLE || answer == ANSWER_DWARF) {
        assert_true(symbol.entry <= address && symbol.entry > address - 200);
    }
    view_session_end(&session);
    view_symbols_destroy(symbols);
    return answer;
}

/* The path of the one file of names; false when there is none. */
static bool names_file(const struct scene *scene, char ret_path[512]) {
    DIR *stream = opendir(scene->names);
    const struct dirent *entry;
    int count = 0;
    while (stream && (entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(ret_path, 512, "%s/%s", scene->names, entry->d_name);
        count++;
    }
    if (stream)
        closedir(stream);
    assert_in_range(count, 0, 1);
    return count == 1;
}

static off_t file_bytes(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

static void test_survives_deletion(void **state) {
    (void)state;
    struct scene scene;
    char path[512], suffix[32];
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    snprintf(suffix, sizeof(suffix), ".%u", geteuid());
    assert_string_equal(strrchr(path, '.'), suffix);
    off_t bytes = file_bytes(path);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(file_bytes(path), bytes); /* nothing new, nothing written */
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, NULL, scene.address), ANSWER_MADE_UP);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(ask(&scene, scene.store, scene.address + 4096), ANSWER_MADE_UP);
    assert_int_equal(file_bytes(path), bytes); /* made-up names are not kept */
    scene_close(&scene);
}

/* A reader of the store, such as the command, uses the names and writes none. */
static void test_reading_only(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    struct keep_store *reading;
    scene_open(&scene, "cp $P copy");
    assert_int_equal(keep_store_open(keep_store_path(scene.store), 0, &reading, NULL), 0);
    assert_int_equal(ask(&scene, reading, scene.address), ANSWER_DWARF);
    assert_false(names_file(&scene, path));
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, reading, scene.address), ANSWER_DWARF);
    keep_store_close(reading);
    scene_close(&scene);
}

static void test_symbol_table(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene, "objcopy --strip-debug $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_TABLE);
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_TABLE);
    scene_close(&scene);
}

/* Without a build-id names are the file's while it is there, and nobody's after that. */
static void test_no_build_id(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    scene_open(&scene, "objcopy --remove-section=.note.gnu.build-id $P copy");
    assert_int_equal(scene.snapshot->modules[0].build_id_bytes, 0);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    assert_memory_equal(strrchr(path, '/'), "/file-", 6);
    off_t bytes = file_bytes(path);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(file_bytes(path), bytes); /* so they came from the store */
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    assert_true(names_file(&scene, path));
    scene_close(&scene);
}

/* Anybody can put the build-id of another's program into a file of their own. */
static void test_users_are_apart(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene, "cp $P copy");
    uint32_t own = scene.snapshot->owner_uid;
    assert_int_equal(own, geteuid());
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(unlink(scene.program), 0);
    scene.snapshot->owner_uid = own + 1;
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    scene.snapshot->owner_uid = own;
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    scene_close(&scene);
}

static void test_link_is_not_followed(void **state) {
    (void)state;
    struct scene scene;
    char path[512], moved[512];
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    snprintf(moved, sizeof(moved), "%s/moved", scene.top);
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(symlink(moved, path), 0);
    off_t bytes = file_bytes(moved);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_int_equal(file_bytes(moved), bytes);
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    scene_close(&scene);
}

/* ---------------------------------------------------------------------- what a file holds */

static void write_names(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static char *read_names(const char *path, size_t *ret_bytes) {
    *ret_bytes = (size_t)file_bytes(path);
    char *text = malloc(*ret_bytes + 1);
    FILE *file = fopen(path, "rb");
    assert_int_equal(fread(text, 1, *ret_bytes, file), *ret_bytes);
    fclose(file);
    text[*ret_bytes] = '\0';
    return text;
}

/* Wherever a crash cuts the file, what is left is right, and the next batch is whole. */
static void test_torn(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    size_t bytes;
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    char *text = read_names(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut += 1 + cut % 7) {
        write_names(path, text, cut);
        assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
        char away[600];
        snprintf(away, sizeof(away), "%s.away", scene.program);
        assert_int_equal(rename(scene.program, away), 0);
        assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
        write_names(path, text, cut);
        assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
        assert_int_equal(rename(away, scene.program), 0);
    }
    free(text);
    scene_close(&scene);
}

static void test_hostile(void **state) {
    (void)state;
    struct scene scene;
    char path[512], line[512];
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    assert_int_equal(unlink(scene.program), 0);
    static const char *const rests[] = {
        "",
        "\t",
        "\t0x10",
        "\t0x10\tt\tn\ts\tf\t1\t1",       /* no dot: torn */
        "\t0x10\tt\tn\ts\tf\t1\t.",       /* a field short */
        "\t0x10\tt\tn\ts\tf\t1\t1\t1\t.", /* one too many */
        "\t0x10\tt\tn\ts\tf\t-1\t1\t.",   /* lines */
        "\t0x10\tt\tn\ts\tf\t1\t99999999999999999999\t.",
        "\t0x10\tt\tn\ts\tf\t1\t4294967296\t.",
        "\t0x10\tx\tn\ts\tf\t1\t1\t.", /* sources */
        "\t0x10\t\tn\ts\tf\t1\t1\t.",
        "\t10\tt\tn\ts\tf\t1\t1\t.", /* addresses */
        "\t0x\tt\tn\ts\tf\t1\t1\t.",
        "\t0x11111111111111111\tt\tn\ts\tf\t1\t1\t.",
        "\t0x10\tt\t\ts\tf\t1\t1\t.",       /* no name */
        "\t0x10\tt\tn\\x00\ts\tf\t1\t1\t.", /* escapes */
        "\t0x10\tt\tn\\x4\ts\tf\t1\t1\t.",
        "\t0x10\tt\tn\\\ts\tf\t1\t1\t.",
        "\t0x10\tt\tn\x7f\ts\tf\t1\t1\t.",
    };
    unsigned long long at = scene.address - BIAS;
    for (size_t i = 0; i < MAL_COUNT_OF(rests); i++) {
        int bytes = snprintf(line, sizeof(line), "0x%llx%s\n", at, rests[i]);
        write_names(path, line, (size_t)bytes);
        assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    }
    int bytes = snprintf(line, sizeof(line), "0x%llx\t0x10\tt\tn\ts\tf\t1\t1\t.%c\n", at, 0);
    write_names(path, line, (size_t)bytes);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    bytes = snprintf(line, sizeof(line), "junk\n\n0x%llx\t0x%llx\tt\touter_function\t\t\t0\t0\t.\n",
                     at, at - 16);
    write_names(path, line, (size_t)bytes);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_TABLE);
    scene_close(&scene);
}

/* More frames than there may be, and the longest line. */
static void test_long_lines(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    assert_int_equal(unlink(scene.program), 0);
    char *text = malloc(2 << 20);
    for (int frames = VIEW_FRAMES_MAX; frames <= VIEW_FRAMES_MAX + 1; frames++) {
        int at = sprintf(text, "0x%llx\t0x10\td", (unsigned long long)(scene.address - BIAS));
        for (int i = 0; i < frames; i++)
            at += sprintf(text + at, "\tname\t\t\t0\t0");
        at += sprintf(text + at, "\t.\n");
        write_names(path, text, (size_t)at);
        assert_int_equal(ask(&scene, scene.store, scene.address),
                         frames > VIEW_FRAMES_MAX ? ANSWER_MADE_UP : ANSWER_OTHER);
    }
    memset(text, 'a', 1 << 20);
    text[(1 << 20) - 1] = '\n';
    write_names(path, text, 1 << 20);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    memset(text, '\t', 1 << 20);
    text[(1 << 20) - 1] = '\n';
    write_names(path, text, 1 << 20);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    free(text);
    scene_close(&scene);
}

static void test_bounded(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    size_t bytes;
    scene_open(&scene, "cp $P copy");
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
    assert_true(names_file(&scene, path));
    char *good = read_names(path, &bytes);
    char *text = malloc(KEEP_NAMES_MAX_BYTES + 1);
    memset(text, '\n', KEEP_NAMES_MAX_BYTES + 1);
    for (size_t room = 0; room < 3 * bytes; room += 50) {
        write_names(path, text, KEEP_NAMES_MAX_BYTES - room);
        assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_DWARF);
        assert_int_equal(file_bytes(path),
                         KEEP_NAMES_MAX_BYTES - room + (room >= bytes ? bytes : 0));
    }
    memcpy(text, good, bytes); /* a file larger than that is nobody's */
    write_names(path, text, KEEP_NAMES_MAX_BYTES + 1);
    assert_int_equal(unlink(scene.program), 0);
    assert_int_equal(ask(&scene, scene.store, scene.address), ANSWER_MADE_UP);
    free(text);
    free(good);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_survives_deletion),
        cmocka_unit_test(test_reading_only),
        cmocka_unit_test(test_symbol_table),
        cmocka_unit_test(test_no_build_id),
        cmocka_unit_test(test_users_are_apart),
        cmocka_unit_test(test_link_is_not_followed),
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
