/* SPDX-License-Identifier: Apache-2.0
 *
 * The keep folder: whom it belongs to, what is written and read again, and what somebody planted
 * there. Where the test runs as root, files must have gone to their users.
 */
#include "base/attr.h"
#include "keep/keep_private.h"
#include "support/box_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TEXT(literal) ((char *)(literal)) /* nobody writes to it */

#include "support/temp_folder.h"

#define OTHER_USER 12345
#define THIRD_USER 12346

struct scene {
    char top[TEMP_FOLDER_BYTES];
    char path[TEMP_FOLDER_BYTES + 16]; /* of the store */
    struct keep_store *store;
};

static void scene_open(struct scene *scene) {
    temp_folder_make(scene->top);
    snprintf(scene->path, sizeof(scene->path), "%s/a/keep", scene->top);
    assert_int_equal(keep_store_open(scene->path, KEEP_WRITE, &scene->store, NULL), 0);
    assert_string_equal(keep_store_path(scene->store), scene->path);
}

static void scene_close(struct scene *scene) {
    keep_store_close(scene->store);
    temp_folder_remove(scene->top);
}

static void scene_reopen(struct scene *scene) {
    keep_store_close(scene->store);
    assert_int_equal(keep_store_open(scene->path, KEEP_WRITE, &scene->store, NULL), 0);
}

static struct keep_facts facts_of(uint32_t pid) {
    return (struct keep_facts){.pid = pid,
                               .uid = geteuid(),
                               .start_ticks = 77,
                               .boot = "0123abcd",
                               .exe = TEXT("/bin/true"),
                               .oom_kills = KEEP_UNKNOWN,
                               .memory_max_bytes = KEEP_UNKNOWN,
                               .memory_peak_bytes = KEEP_UNKNOWN,
                               .memory_current_bytes = KEEP_UNKNOWN};
}

static struct keep_entry *begin(struct scene *scene, uint32_t pid) {
    struct keep_facts facts = facts_of(pid);
    struct keep_entry *entry;
    assert_int_equal(keep_entry_begin(scene->store, &facts, &entry), 0);
    return entry;
}

static void add_profile(struct keep_entry *entry, uint64_t unix_s, const char *text) {
    assert_int_equal(keep_entry_add_profile(entry, unix_s * 1000000000 + 5, text, strlen(text)), 0);
}

static int count_visit(const struct keep_facts *facts, const char *folder, void *context) {
    (void)facts;
    assert_int_equal(access(folder, F_OK), 0);
    ++*(int *)context;
    return 0;
}

static int processes(struct scene *scene) {
    int count = 0;
    assert_int_equal(keep_each(scene->store, count_visit, &count), 0);
    return count;
}

static struct stat status_of(const char *folder, const char *name) {
    char path[512];
    struct stat status;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(lstat(path, &status), 0);
    return status;
}

static void write_file(const char *folder, const char *name, const void *data, size_t bytes) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

/* ------------------------------------------------------------------------------ the store */

static void test_open(void **state) {
    (void)state;
    struct scene scene;
    char problem[KEEP_PROBLEM_BYTES] = "";
    struct keep_store *other;
    scene_open(&scene);
    assert_int_equal(status_of(scene.path, ".").st_mode & 07777, geteuid() == 0 ? 0755 : 0700);
    assert_int_equal(keep_store_open(scene.path, KEEP_WRITE, &other, problem), -EBUSY);
    assert_non_null(strstr(problem, scene.path));
    assert_int_equal(keep_store_open(scene.path, 0, &other, problem), 0);
    struct keep_facts facts = facts_of(1);
    struct keep_entry *entry;
    struct keep_trimmed trimmed;
    assert_int_equal(keep_entry_begin(other, &facts, &entry), -EROFS);
    assert_int_equal(keep_store_trim(other, 0, 0, &trimmed), -EROFS);
    keep_store_close(other);
    scene_close(&scene);
}

static void test_open_refuses(void **state) {
    (void)state;
    struct scene scene;
    char problem[KEEP_PROBLEM_BYTES], path[512];
    struct keep_store *store;
    scene_open(&scene);
    static const char *const missing[] = {"nothing", "file", "file/below"};
    write_file(scene.top, "file", "x", 1);
    for (size_t i = 0; i < MAL_COUNT_OF(missing); i++) {
        snprintf(path, sizeof(path), "%s/%s", scene.top, missing[i]);
        problem[0] = '\0';
        assert_true(keep_store_open(path, i == 0 ? 0 : KEEP_WRITE, &store, problem) < 0);
        assert_non_null(strstr(problem, path));
    }
    chmod(scene.path, 0777);
    assert_int_equal(keep_store_open(scene.path, 0, &store, problem), -EPERM);
    assert_non_null(strstr(problem, scene.path));
    chmod(scene.path, 0755);
    scene_close(&scene);
}

static void test_link_to_the_store(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    struct keep_store *store;
    scene_open(&scene);
    snprintf(path, sizeof(path), "%s/link", scene.top);
    assert_int_equal(symlink(scene.path, path), 0);
    assert_int_equal(keep_store_open(path, 0, &store, NULL), 0);
    keep_store_close(store);
    if (geteuid() == 0) {
        assert_int_equal(lchown(path, OTHER_USER, OTHER_USER), 0);
        assert_true(keep_store_open(path, 0, &store, NULL) < 0);
        assert_int_equal(chown(scene.path, OTHER_USER, OTHER_USER), 0);
        assert_int_equal(keep_store_open(scene.path, 0, &store, NULL), -EPERM);
    }
    scene_close(&scene);
}

static void test_default_path(void **state) {
    (void)state;
    char path[512], small[4];
    if (geteuid() == 0) {
        assert_int_equal(keep_default_path(path, sizeof(path)), 0);
        assert_string_equal(path, "/var/lib/mallard");
    } else {
        setenv("XDG_STATE_HOME", "/state", 1);
        assert_int_equal(keep_default_path(path, sizeof(path)), 0);
        assert_string_equal(path, "/state/mallard");
        unsetenv("XDG_STATE_HOME");
        setenv("HOME", "/home/x", 1);
        assert_int_equal(keep_default_path(path, sizeof(path)), 0);
        assert_string_equal(path, "/home/x/.local/state/mallard");
    }
    assert_int_equal(keep_default_path(small, sizeof(small)), -ENAMETOOLONG);
}

static void test_boot(void **state) {
    (void)state;
    char boot[KEEP_BOOT_BYTES];
    keep_boot(boot);
    assert_int_equal(strlen(boot), 8);
    assert_int_equal(strspn(boot, "0123456789abcdef"), 8);
}

/* A crash leaves temporary names and empty folders. */
static void test_leftovers(void **state) {
    (void)state;
    struct scene scene;
    char folder[512], empty[512], foreign[512];
    scene_open(&scene);
    snprintf(foreign, sizeof(foreign), "%s/lost+found", scene.path); /* none of ours */
    assert_int_equal(mkdir(foreign, 0755), 0);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    add_profile(entry, 100, "profile");
    keep_entry_end(entry);
    write_file(folder, ".new.facts", "torn", 4);
    write_file(folder, ".new.heap.200.pb.gz", "torn", 4);
    snprintf(empty, sizeof(empty), "%s/6.6.0123abcd", scene.path);
    assert_int_equal(mkdir(empty, 0755), 0);
    assert_int_equal(processes(&scene), 1);
    struct keep_profile profiles[4];
    assert_int_equal(keep_profiles(folder, profiles, 4), 1);
    scene_reopen(&scene);
    assert_int_not_equal(access(empty, F_OK), 0);
    assert_int_equal(access(foreign, F_OK), 0);
    assert_int_equal(faccessat(AT_FDCWD, folder, F_OK, 0), 0);
    char path[600];
    snprintf(path, sizeof(path), "%s/.new.facts", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof(path), "%s/.new.heap.200.pb.gz", folder);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(keep_profiles(folder, profiles, 4), 1);
    scene_close(&scene);
}

/* ---------------------------------------------------------------------------- processes */

static void test_entry(void **state) {
    (void)state;
    struct scene scene;
    struct keep_facts facts = facts_of(42), read;
    struct keep_entry *entry, *second;
    char folder[512];
    scene_open(&scene);
    assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), 0);
    assert_int_equal(keep_entry_begin(scene.store, &facts, &second), -EBUSY);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    assert_string_equal(strrchr(folder, '/'), "/42.77.0123abcd");
    assert_int_equal(keep_read_facts(folder, &read), 0);
    assert_int_equal(read.pid, 42);
    assert_int_equal(read.start_ticks, 77);
    assert_string_equal(read.boot, "0123abcd");
    assert_int_equal(read.uid, geteuid());
    assert_string_equal(read.exe, "/bin/true");
    assert_int_equal(read.death, KEEP_DEATH_NONE);
    keep_facts_free(&read);
    facts.death = KEEP_DEATH_SIGNAL;
    facts.signal = 11;
    facts.pid = 43;
    assert_int_equal(keep_entry_set_facts(entry, &facts), 0);
    keep_entry_end(entry);
    assert_int_equal(keep_read_facts(folder, &read), 0);
    assert_int_equal(read.pid, 42);
    assert_int_equal(read.death, KEEP_DEATH_SIGNAL);
    assert_int_equal(read.signal, 11);
    keep_facts_free(&read);
    entry = begin(&scene, 42); /* the next daemon goes on with the same folder */
    assert_int_equal(processes(&scene), 1);
    assert_int_equal(keep_entry_discard(entry), 0);
    assert_int_equal(processes(&scene), 0);
    assert_int_not_equal(access(folder, F_OK), 0);
    scene_close(&scene);
}

static void test_entry_needs_a_name(void **state) {
    (void)state;
    struct scene scene;
    struct keep_entry *entry;
    scene_open(&scene);
    struct keep_facts facts = facts_of(0);
    assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), -EINVAL);
    static const char *const boots[] = {"", "0123abc", "0123ABCD", "../../..", "0123 bcd"};
    for (size_t i = 0; i < MAL_COUNT_OF(boots); i++) {
        facts = facts_of(3);
        snprintf(facts.boot, sizeof(facts.boot), "%s", boots[i]);
        assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), -EINVAL);
    }
    scene_close(&scene);
}

static int first_visit(const struct keep_facts *facts, const char *folder, void *context) {
    (void)facts, (void)folder, (void)context;
    return 17;
}

static void test_each(void **state) {
    (void)state;
    struct scene scene;
    char path[512];
    scene_open(&scene);
    for (uint32_t pid = 1; pid <= 3; pid++)
        keep_entry_end(begin(&scene, pid));
    static const char *const strange[] = {"01.1.0123abcd", "1.1.0123abcd.x", "1.1", "x",
                                          "9.1.0123abcg",  "1.2.0123abcd"};
    for (size_t i = 0; i < MAL_COUNT_OF(strange); i++) {
        snprintf(path, sizeof(path), "%s/%s", scene.path, strange[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        if (i < 5)
            write_file(path, "facts", "exe=/x\n", 7);
    }
    assert_int_equal(processes(&scene), 3);
    assert_int_equal(keep_each(scene.store, first_visit, NULL), 17);
    scene_close(&scene);
}

/* ------------------------------------------------------------------------- what was planted */

/* A link to another process's folder, to its files, a FIFO, a file too large. */
static void test_planted(void **state) {
    (void)state;
    struct scene scene;
    char folder[512], path[600], secret[600];
    struct keep_facts read;
    struct keep_profile profiles[4];
    struct mal_box_history_row rows[2];
    struct mal_box_reader *reader;
    scene_open(&scene);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    keep_entry_end(entry);
    snprintf(secret, sizeof(secret), "%s/secret", scene.top);
    write_file(scene.top, "secret", "exe=/secret\n", 12);

    snprintf(path, sizeof(path), "%s/6.77.0123abcd", scene.path);
    assert_int_equal(symlink(folder, path), 0);
    assert_int_equal(processes(&scene), 1);
    assert_true(keep_read_facts(path, &read) < 0);
    assert_true(keep_profiles(path, profiles, 4) < 0);

    static const char *const names[] = {"facts", "box", "history", "heap.7.pb.gz"};
    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
        assert_int_equal(symlink(secret, path), 0);
    }
    assert_true(keep_read_facts(folder, &read) < 0);
    assert_true(keep_box_open(folder, &reader) < 0);
    assert_true(keep_rows(folder, 0, UINT64_MAX, rows, 2) < 0);
    assert_int_equal(keep_profiles(folder, profiles, 4), 0);
    assert_true(keep_profile_open(folder, 7) < 0);
    entry = begin(&scene, 5); /* replaces the link, not what it leads to */
    assert_int_equal(keep_read_facts(folder, &read), 0);
    assert_string_equal(read.exe, "/bin/true");
    keep_facts_free(&read);
    assert_true(keep_entry_add_rows(entry, rows, 1) < 0);
    keep_entry_end(entry);
    assert_int_equal(status_of(scene.top, "secret").st_size, 12);

    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
        assert_int_equal(mkfifo(path, 0600), 0);
    }
    assert_true(keep_read_facts(folder, &read) < 0);
    assert_true(keep_box_open(folder, &reader) < 0);
    assert_true(keep_rows(folder, 0, UINT64_MAX, rows, 2) < 0);
    assert_true(keep_profile_open(folder, 7) < 0);

    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
        write_file(folder, names[i], "", 0);
        assert_int_equal(truncate(path, 1ll << 40), 0);
    }
    assert_int_equal(keep_read_facts(folder, &read), -EFBIG);
    assert_int_equal(keep_box_open(folder, &reader), -EFBIG);
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, rows, 2), -EFBIG);
    assert_int_equal(keep_profiles(folder, profiles, 4), 0);
    assert_int_equal(keep_profile_open(folder, 7), -EFBIG);
    scene_close(&scene);
}

static void test_folder_of_another(void **state) {
    (void)state;
    struct scene scene;
    struct keep_facts read;
    struct keep_entry *entry;
    char folder[512];
    scene_open(&scene);
    entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    keep_entry_end(entry);
    chmod(folder, 0775);
    assert_int_equal(keep_read_facts(folder, &read), -EPERM);
    assert_int_equal(processes(&scene), 0);
    chmod(folder, 0755);
    assert_int_equal(processes(&scene), 1);
    if (geteuid() == 0) {
        assert_int_equal(chown(folder, OTHER_USER, OTHER_USER), 0);
        assert_int_equal(keep_read_facts(folder, &read), -EPERM);
        assert_int_equal(processes(&scene), 0);
        struct keep_facts facts = facts_of(5);
        assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), -EPERM);
    }
    scene_close(&scene);
}

/* In a child that is nobody but OTHER_USER: 0 when their own is read and nobody else's. */
static int read_as_other(const char *store_path, const char *own, const char *others) {
    struct keep_store *store;
    struct keep_facts facts;
    int count = 0;
    if (setgid(OTHER_USER) != 0 || setuid(OTHER_USER) != 0)
        return 1;
    if (keep_store_open(store_path, 0, &store, NULL) != 0 ||
        keep_each(store, count_visit, &count) != 0)
        return 2;
    if (count != 1 || keep_read_facts(own, &facts) != 0 || facts.uid != OTHER_USER)
        return 3;
    keep_facts_free(&facts);
    keep_store_close(store);
    if (keep_read_facts(others, &facts) != -EACCES)
        return 4;
    int fd = keep_profile_open(own, 9);
    if (fd < 0 || keep_profile_open(others, 9) != -EACCES)
        return 5;
    close(fd);
    char path[600];
    snprintf(path, sizeof(path), "%s/planted", own);
    if (creat(path, 0600) >= 0)
        return 6;
    snprintf(path, sizeof(path), "%s/facts", own);
    if (unlink(path) == 0 || chmod(path, 0600) != 0)
        return 7;
    FILE *file = fopen(path, "w"); /* their own file they may spoil */
    return file && fputs("uid=0\npid=1\nexe=/lie\n", file) >= 0 && fclose(file) == 0 ? 0 : 8;
}

/* What root keeps of other users' processes. */
static void test_users(void **state) {
    (void)state;
    if (geteuid() != 0) {
        print_message("skipped: not root\n");
        skip();
    }
    struct scene scene;
    struct keep_facts facts, read;
    struct keep_entry *entry;
    char own[512], others[512];
    struct mal_box_history_row row = {.unix_ns = 1};
    scene_open(&scene);
    assert_int_equal(chmod(scene.top, 0755), 0);
    facts = facts_of(5);
    facts.uid = THIRD_USER;
    assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), 0);
    snprintf(others, sizeof(others), "%s", keep_entry_path(entry));
    add_profile(entry, 9, "theirs");
    keep_entry_end(entry);
    facts = facts_of(6);
    facts.uid = OTHER_USER;
    assert_int_equal(keep_entry_begin(scene.store, &facts, &entry), 0);
    snprintf(own, sizeof(own), "%s", keep_entry_path(entry));
    add_profile(entry, 9, "own");
    assert_int_equal(keep_entry_add_rows(entry, &row, 1), 0);
    static const char *const names[] = {"facts", "history", "heap.9.pb.gz"};
    for (size_t i = 0; i < MAL_COUNT_OF(names); i++) {
        assert_int_equal(status_of(own, names[i]).st_uid, OTHER_USER);
        assert_int_equal(status_of(own, names[i]).st_mode & 07777, 0400);
    }
    assert_int_equal(status_of(own, ".").st_uid, 0);
    assert_int_equal(status_of(own, ".").st_mode & 07777, 0755);
    pid_t child = fork();
    if (child == 0)
        _exit(read_as_other(scene.path, own, others));
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(keep_read_facts(own, &read), 0); /* rewritten by the child */
    assert_string_equal(read.exe, "/lie");
    assert_int_equal(read.uid, OTHER_USER);
    assert_int_equal(read.pid, 6);
    keep_facts_free(&read);
    row.unix_ns = 2;
    assert_int_equal(keep_entry_add_rows(entry, &row, 1), 0);
    keep_entry_end(entry);
    scene_close(&scene);
}

/* ----------------------------------------------------------------------------- profiles */

static void test_profiles(void **state) {
    (void)state;
    struct scene scene;
    struct keep_profile profiles[8];
    char folder[512], text[32] = "";
    static const uint64_t times[] = {1000, 9, 10, 1700000000, 99};
    scene_open(&scene);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    assert_int_equal(keep_profiles(folder, profiles, 8), 0);
    for (size_t i = 0; i < MAL_COUNT_OF(times); i++)
        add_profile(entry, times[i], i == 2 ? "ten" : "something longer");
    write_file(folder, "heap.010.pb.gz", "x", 1);
    write_file(folder, "heap..pb.gz", "x", 1);
    write_file(folder, "heap.-1.pb.gz", "x", 1);
    write_file(folder, "heap.99999999999999999999999.pb.gz", "x", 1);
    write_file(folder, "heap.5.pb.gz.old", "x", 1);
    assert_int_equal(keep_profiles(folder, profiles, 8), 5);
    static const uint64_t sorted[] = {9, 10, 99, 1000, 1700000000};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(profiles[i].unix_s, sorted[i]);
    assert_int_equal(profiles[1].bytes, 3);
    assert_int_equal(keep_profiles(folder, profiles, 2), 2); /* the newest */
    assert_int_equal(profiles[0].unix_s, 1000);
    assert_int_equal(keep_profiles(folder, NULL, 0), 0);
    int fd = keep_profile_open(folder, 10);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof(text)), 3);
    assert_string_equal(text, "ten");
    close(fd);
    assert_int_equal(keep_profile_open(folder, 11), -ENOENT);
    add_profile(entry, 10, "replaced"); /* the same second again */
    assert_int_equal(keep_profiles(folder, profiles, 8), 5);
    assert_int_equal(profiles[1].bytes, 8);
    assert_int_equal(keep_entry_add_profile(entry, 1, text, (64u << 20) + 1), -EFBIG);
    keep_entry_end(entry);
    scene_close(&scene);
}

/* --------------------------------------------------------------------------------- rows */

static void test_rows(void **state) {
    (void)state;
    struct scene scene;
    struct mal_box_history_row rows[300], read[400];
    char folder[512], path[600];
    scene_open(&scene);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    snprintf(path, sizeof(path), "%s/history", folder);
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 400), 0);
    for (size_t i = 0; i < 300; i++)
        rows[i] = (struct mal_box_history_row){.unix_ns = 10 * (i + 1), .rss_bytes = i};
    assert_int_equal(keep_entry_add_rows(entry, rows, 200), 0);
    assert_int_equal(keep_entry_add_rows(entry, rows + 100, 200), 0); /* half of them known */
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 400), 300);
    assert_memory_equal(read, rows, sizeof(rows));
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 7), 7);
    assert_memory_equal(read, rows + 293, 7 * sizeof(rows[0]));
    assert_int_equal(keep_rows(folder, 100, 130, read, 400), 4);
    assert_memory_equal(read, rows + 9, 4 * sizeof(rows[0]));
    assert_int_equal(keep_rows(folder, 101, 109, read, 400), 0);
    assert_int_equal(keep_rows(folder, 5000, UINT64_MAX, read, 400), 0);
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 0), 0);

    assert_int_equal(truncate(path, 299 * (off_t)sizeof(rows[0]) + 60), 0); /* torn */
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 400), 299);
    assert_memory_equal(read, rows, 299 * sizeof(rows[0]));
    assert_int_equal(keep_entry_add_rows(entry, rows + 299, 1), 0);
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, 400), 300);
    assert_memory_equal(read, rows, sizeof(rows));

    struct mal_box_history_row mixed[5] = {{.unix_ns = 50},
                                           {.unix_ns = 20},
                                           {.unix_ns = UINT64_MAX},
                                           {.unix_ns = 60},
                                           {.unix_ns = 70}};
    write_file(folder, "history", mixed, sizeof(mixed));
    assert_int_equal(keep_rows(folder, 30, 100, read, 400), 2); /* ends at what is out of range */
    assert_int_equal(read[0].unix_ns, 60);
    assert_int_equal(read[1].unix_ns, 70);
    keep_entry_end(entry);
    scene_close(&scene);
}

/* The file stays bounded and holds the newest. */
static void test_rows_are_bounded(void **state) {
    (void)state;
    struct scene scene;
    enum { PIECE = 3600 };
    struct mal_box_history_row *rows = calloc(PIECE, sizeof(*rows));
    struct mal_box_history_row *read = calloc(KEEP_ROWS_MAX, sizeof(*read));
    char folder[512];
    uint64_t time = 0;
    scene_open(&scene);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    for (int piece = 0; piece < 24; piece++) {
        for (size_t i = 0; i < PIECE; i++)
            rows[i].unix_ns = ++time;
        assert_int_equal(keep_entry_add_rows(entry, rows, PIECE), 0);
        assert_true((uint64_t)status_of(folder, "history").st_size <= KEEP_HISTORY_MAX_BYTES);
    }
    assert_int_equal(keep_rows(folder, 0, UINT64_MAX, read, KEEP_ROWS_MAX), KEEP_ROWS_MAX);
    for (size_t i = 0; i < KEEP_ROWS_MAX; i++)
        assert_int_equal(read[i].unix_ns, time - KEEP_ROWS_MAX + 1 + i);
    keep_entry_end(entry);
    scene_close(&scene);
    free(rows);
    free(read);
}

/* ---------------------------------------------------------------------------------- box */

static struct mal_box_reader *open_box(const char *path) {
    struct mal_box_reader *reader;
    assert_int_equal(mal_reader_open(path, &reader), 0);
    return reader;
}

static void check_same_snapshot(struct mal_box_reader *a, struct mal_box_reader *b) {
    struct mal_snapshot *left, *right;
    assert_int_equal(mal_reader_snapshot(a, &left), 0);
    assert_int_equal(mal_reader_snapshot(b, &right), 0);
    assert_int_equal(left->module_count, right->module_count);
    assert_int_equal(left->bucket_count, right->bucket_count);
    assert_true(left->bucket_count > 0);
    for (size_t i = 0; i < left->bucket_count; i++) {
        const struct mal_snapshot_bucket *x = &left->buckets[i], *y = &right->buckets[i];
        assert_int_equal(x->depth, y->depth);
        assert_memory_equal(x->pcs, y->pcs, x->depth * sizeof(uint64_t));
        assert_int_equal(x->allocs, y->allocs);
        assert_int_equal(x->frees, y->frees);
    }
    for (size_t i = 0; i < left->module_count; i++)
        assert_string_equal(left->modules[i].path, right->modules[i].path);
    mal_snapshot_free(left);
    mal_snapshot_free(right);
}

static void check_same_box(struct mal_box_reader *a, struct mal_box_reader *b) {
    struct mal_box_stats *left = calloc(2, sizeof(*left)), *right = left + 1;
    struct mal_box_history_row rows[2][16];
    char text[2][4096];
    uint64_t cursor[2] = {0, 0};
    check_same_snapshot(a, b);
    assert_int_equal(mal_reader_stats(a, left), 0);
    assert_int_equal(mal_reader_stats(b, right), 0);
    assert_memory_equal(left, right, sizeof(*left));
    long count = mal_reader_history(a, rows[0], 16);
    assert_true(count > 0);
    assert_int_equal(mal_reader_history(b, rows[1], 16), count);
    assert_memory_equal(rows[0], rows[1], (size_t)count * sizeof(rows[0][0]));
    long bytes = mal_reader_trace(a, &cursor[0], text[0], sizeof(text[0]));
    assert_true(bytes > 0);
    assert_int_equal(mal_reader_trace(b, &cursor[1], text[1], sizeof(text[1])), bytes);
    assert_memory_equal(text[0], text[1], (size_t)bytes);
    free(left);
}

static void test_box(void **state) {
    (void)state;
    struct scene scene;
    struct mal_box_reader *original, *kept;
    char path[BOX_FIXTURE_PATH_BYTES], folder[256];
    int64_t result;
    scene_open(&scene);
    struct box_fixture *box = box_fixture_typical();
    box_fixture_save(box, scene.top, path);
    original = open_box(path);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    assert_int_equal(keep_box_open(folder, &kept), -ENOENT);
    assert_int_equal(unlink(path), 0); /* only the descriptor is left of it */
    assert_int_equal(keep_entry_add_box(entry, original), 0);
    assert_int_equal(keep_entry_add_box(entry, original), 0);
    assert_int_equal(keep_box_open(folder, &kept), 0);
    check_same_box(original, kept);
    struct stat status = status_of(folder, "box");
    assert_int_equal(status.st_size, MAL_BOX_BYTES);
    assert_true(status.st_blocks * 512 < (2 << 20));
    assert_int_equal(mal_reader_owner(kept), geteuid());
    assert_int_equal(mal_reader_command(kept, MAL_BOX_CMD_PUBLISH, 0, 10, &result), -EROFS);
    mal_reader_close(kept);
    snprintf(path, sizeof(path), "%s/box", folder);
    kept = open_box(path); /* a box like any other */
    check_same_box(original, kept);
    mal_reader_close(kept);
    mal_reader_close(original);
    assert_int_equal(
        mal_reader_from_memory(box_fixture_base(box), box_fixture_bytes(box), &original), 0);
    assert_int_equal(keep_entry_add_box(entry, original), -EINVAL);
    mal_reader_close(original);
    box_fixture_free(box);
    keep_entry_end(entry);
    scene_close(&scene);
}

/* Every page of data, in the places where mistakes of a sparse copy would show. */
static void test_box_bytes(void **state) {
    (void)state;
    struct scene scene;
    struct mal_box_reader *reader;
    char path[BOX_FIXTURE_PATH_BYTES], folder[256];
    scene_open(&scene);
    struct box_fixture *box = box_fixture_typical();
    uint8_t *base = box_fixture_base(box);
    size_t bytes = box_fixture_bytes(box);
    for (size_t at = 1 << 20; at < bytes; at += 299993)
        base[at] = (uint8_t)(at | 1);
    base[bytes - 1] = 1;
    box_fixture_save(box, scene.top, path);
    assert_int_equal(mal_reader_open(path, &reader), 0);
    struct keep_entry *entry = begin(&scene, 5);
    snprintf(folder, sizeof(folder), "%s", keep_entry_path(entry));
    assert_int_equal(keep_entry_add_box(entry, reader), 0);
    mal_reader_close(reader);
    snprintf(path, sizeof(path), "%s/box", folder);
    FILE *file = fopen(path, "rb");
    uint8_t *copy = malloc(bytes);
    assert_non_null(file);
    assert_int_equal(fread(copy, 1, bytes, file), bytes);
    assert_int_equal(memcmp(copy, base, bytes), 0);
    fclose(file);
    free(copy);
    assert_int_equal(truncate(path, 4 * MAL_BOX_BYTES), 0);
    assert_int_equal(keep_box_open(folder, &reader), -EFBIG);
    assert_int_equal(mal_reader_open(path, &reader), 0);
    assert_int_equal(keep_entry_add_box(entry, reader), -EFBIG);
    mal_reader_close(reader);
    box_fixture_free(box);
    keep_entry_end(entry);
    scene_close(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_link_to_the_store),
        cmocka_unit_test(test_default_path),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_entry_needs_a_name),
        cmocka_unit_test(test_each),
        cmocka_unit_test(test_planted),
        cmocka_unit_test(test_folder_of_another),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rows_are_bounded),
        cmocka_unit_test(test_box),
        cmocka_unit_test(test_box_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
