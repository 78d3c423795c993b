/* SPDX-License-Identifier: Apache-2.0
 *
 * Making room: what goes first, what never goes, and that what is said to be removed is.
 */
#include "keep/keep_private.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/temp_folder.h"

#define PROFILE_BYTES 40000
#define SECOND 1000000000ull

struct scene {
    char top[TEMP_FOLDER_BYTES];
    struct keep_store *store;
    uint8_t profile[PROFILE_BYTES];
};

static void scene_open(struct scene *scene) {
    temp_folder_make(scene->top);
    assert_int_equal(keep_store_open(scene->top, KEEP_WRITE, &scene->store, NULL), 0);
    for (size_t i = 0; i < PROFILE_BYTES; i++)
        scene->profile[i] = (uint8_t)(i * 2654435761u >> 13);
}

static void scene_close(struct scene *scene) {
    keep_store_close(scene->store);
    temp_folder_remove(scene->top);
}

/* A process with a profile at each of these seconds, up to a 0. */
static struct keep_entry *begin(struct scene *scene, uint32_t pid, const uint64_t *seconds) {
    const struct keep_facts facts = {.pid = pid, .uid = geteuid(), .boot = "0123abcd"};
    struct keep_entry *entry;
    assert_int_equal(keep_entry_begin(scene->store, &facts, &entry), 0);
    for (; *seconds; seconds++)
        assert_int_equal(
            keep_entry_add_profile(entry, *seconds * SECOND, scene->profile, PROFILE_BYTES), 0);
    return entry;
}

static bool exists(const struct scene *scene, const char *path) {
    char whole[256];
    snprintf(whole, sizeof(whole), "%s/%s", scene->top, path);
    return access(whole, F_OK) == 0;
}

static bool has_profile(const struct scene *scene, uint32_t pid, unsigned second) {
    char path[128];
    snprintf(path, sizeof(path), "%u.0.0123abcd/heap.%u.pb.gz", pid, second);
    return exists(scene, path);
}

static struct keep_trimmed trim(struct scene *scene, uint64_t keep_bytes, uint64_t older_than_s) {
    struct keep_trimmed trimmed;
    uint64_t before = keep_store_bytes(scene->store);
    assert_int_equal(keep_store_trim(scene->store, keep_bytes, older_than_s * SECOND, &trimmed), 0);
    uint64_t after = keep_store_bytes(scene->store);
    assert_int_equal(trimmed.left_bytes, after);
    assert_int_equal(trimmed.bytes, before - after);
    return trimmed;
}

/* Makes room for one byte more than there is. */
static struct keep_trimmed trim_a_little(struct scene *scene) {
    return trim(scene, keep_store_bytes(scene->store) - 1, 0);
}

static void test_bytes(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene);
    uint64_t empty = keep_store_bytes(scene.store);
    keep_entry_end(begin(&scene, 1, (const uint64_t[]){10, 20, 0}));
    uint64_t full = keep_store_bytes(scene.store);
    assert_in_range(full - empty, 2 * PROFILE_BYTES, 3 * PROFILE_BYTES);
    struct keep_trimmed trimmed = trim(&scene, full, 0);
    assert_int_equal(trimmed.bytes + trimmed.profiles + trimmed.folders + trimmed.others, 0);
    assert_int_equal(trimmed.left_bytes, full);
    scene_close(&scene);
}

static void test_order(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene);
    struct keep_entry *alive = begin(&scene, 1, (const uint64_t[]){100, 200, 300, 0});
    keep_entry_end(begin(&scene, 2, (const uint64_t[]){250, 150, 0}));
    keep_entry_end(begin(&scene, 3, (const uint64_t[]){50, 0}));

    assert_int_equal(trim_a_little(&scene).profiles, 1);
    assert_false(has_profile(&scene, 1, 100));
    assert_true(has_profile(&scene, 2, 150));
    assert_int_equal(trim_a_little(&scene).profiles, 1);
    assert_false(has_profile(&scene, 2, 150));
    assert_true(has_profile(&scene, 1, 200));
    assert_int_equal(trim_a_little(&scene).profiles, 1);
    assert_false(has_profile(&scene, 1, 200));
    assert_true(has_profile(&scene, 3, 50)); /* the last one of a dead process */

    struct keep_trimmed trimmed = trim_a_little(&scene);
    assert_int_equal(trimmed.profiles, 0);
    assert_int_equal(trimmed.folders, 1);
    assert_false(exists(&scene, "3.0.0123abcd"));
    assert_true(has_profile(&scene, 2, 250));
    assert_int_equal(trim_a_little(&scene).folders, 1);
    assert_false(exists(&scene, "2.0.0123abcd"));

    trimmed = trim(&scene, 0, UINT64_MAX / SECOND); /* nothing more of the living one */
    assert_int_equal(trimmed.bytes, 0);
    assert_true(has_profile(&scene, 1, 300));
    assert_true(exists(&scene, "1.0.0123abcd/facts"));
    keep_entry_end(alive);
    assert_int_equal(trim(&scene, 0, 0).folders, 1); /* dead now */
    assert_false(exists(&scene, "1.0.0123abcd"));
    scene_close(&scene);
}

/* Removes no more than is needed, in one go. */
static void test_enough(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene);
    keep_entry_end(begin(&scene, 1, (const uint64_t[]){1, 2, 3, 4, 5, 6, 7, 8, 0}));
    uint64_t most = keep_store_bytes(scene.store) - 2 * PROFILE_BYTES;
    struct keep_trimmed trimmed = trim(&scene, most, 0);
    assert_int_equal(trimmed.profiles, 2);
    assert_true(trimmed.left_bytes <= most);
    assert_false(has_profile(&scene, 1, 2));
    assert_true(has_profile(&scene, 1, 3));
    scene_close(&scene);
}

static void test_age(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene);
    struct keep_entry *alive = begin(&scene, 1, (const uint64_t[]){100, 200, 0});
    keep_entry_end(begin(&scene, 2, (const uint64_t[]){100, 199, 200, 300, 0}));
    keep_entry_end(begin(&scene, 3, (const uint64_t[]){50, 60, 0}));
    assert_int_equal(trim(&scene, UINT64_MAX, 200).profiles, 4);
    assert_false(has_profile(&scene, 1, 100));
    assert_false(has_profile(&scene, 2, 199));
    assert_true(has_profile(&scene, 2, 200));
    assert_false(has_profile(&scene, 3, 50));
    assert_true(has_profile(&scene, 3, 60));
    assert_int_equal(trim(&scene, UINT64_MAX, 1000).profiles, 1);
    assert_true(has_profile(&scene, 1, 200));
    assert_true(has_profile(&scene, 2, 300));
    keep_entry_end(alive);
    scene_close(&scene);
}

static void write_large(const struct scene *scene, const char *path, uint64_t bytes) {
    char whole[256];
    snprintf(whole, sizeof(whole), "%s/%s", scene->top, path);
    FILE *file = fopen(whole, "ab");
    assert_non_null(file);
    for (uint64_t at = 0; at < bytes; at += PROFILE_BYTES)
        assert_int_equal(fwrite(scene->profile, 1, PROFILE_BYTES, file), PROFILE_BYTES);
    assert_int_equal(fflush(file) | fsync(fileno(file)) | fclose(file), 0);
}

/* What its owner blew up goes before anything of anybody else. */
static void test_outgrown(void **state) {
    (void)state;
    struct scene scene;
    scene_open(&scene);
    keep_entry_end(begin(&scene, 1, (const uint64_t[]){100, 200, 0}));
    keep_entry_end(begin(&scene, 2, (const uint64_t[]){300, 0}));
    uint64_t most = keep_store_bytes(scene.store);
    write_large(&scene, "2.0.0123abcd/facts", 2 << 20);
    struct keep_trimmed trimmed = trim(&scene, most, 0);
    assert_int_equal(trimmed.others, 1);
    assert_int_equal(trimmed.profiles + trimmed.folders, 0);
    assert_false(exists(&scene, "2.0.0123abcd/facts"));
    scene_close(&scene);
}

/* Names take a bounded share; beyond that they are the last to go. */
static void test_names(void **state) {
    (void)state;
    struct scene scene;
    char path[256];
    scene_open(&scene);
    snprintf(path, sizeof(path), "%s/symbols", scene.top);
    assert_int_equal(mkdir(path, 0755), 0);
    write_large(&scene, "symbols/aa.0", PROFILE_BYTES);
    snprintf(path, sizeof(path), "%s/symbols/aa.0", scene.top);
    const struct timespec old[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    write_large(&scene, "symbols/bb.0", PROFILE_BYTES);
    keep_entry_end(begin(&scene, 1, (const uint64_t[]){100, 200, 0}));
    assert_int_equal(trim(&scene, 16 * PROFILE_BYTES, 0).others, 1);
    assert_false(exists(&scene, "symbols/aa.0"));
    assert_true(exists(&scene, "symbols/bb.0"));
    struct keep_trimmed trimmed = trim(&scene, 0, 0);
    assert_int_equal(trimmed.folders, 1);
    assert_false(exists(&scene, "symbols/bb.0"));
    scene_close(&scene);
}

/* Whatever else lies there is nobody's business. */
static void test_strangers_stay(void **state) {
    (void)state;
    struct scene scene;
    char path[256], link[256];
    scene_open(&scene);
    static const char *const folders[] = {"other", "1.2.3", "01.0.0123abcd"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", scene.top, folders[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        snprintf(path, sizeof(path), "%s/heap.1.pb.gz", folders[i]);
        write_large(&scene, path, PROFILE_BYTES);
    }
    write_large(&scene, "file", PROFILE_BYTES);
    snprintf(link, sizeof(link), "%s/9.0.0123abcd", scene.top);
    snprintf(path, sizeof(path), "%s/other", scene.top);
    assert_int_equal(symlink(path, link), 0);
    struct keep_trimmed trimmed;
    assert_int_equal(keep_store_trim(scene.store, 0, UINT64_MAX, &trimmed), 0);
    assert_int_equal(trimmed.bytes, 0);
    assert_true(exists(&scene, "other/heap.1.pb.gz"));
    assert_true(exists(&scene, "1.2.3/heap.1.pb.gz"));
    assert_true(exists(&scene, "01.0.0123abcd/heap.1.pb.gz"));
    assert_true(exists(&scene, "file"));
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),          cmocka_unit_test(test_order),
        cmocka_unit_test(test_enough),         cmocka_unit_test(test_age),
        cmocka_unit_test(test_outgrown),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_strangers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
