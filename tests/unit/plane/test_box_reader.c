/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader of boxes: what a good box says, and that a bad one can say nothing harmful. Bad ones
 * are made by breaking a good one in every field of the header, at every page, in every entry.
 */
#include "box/place.h"
#include "box/reader.h"
#include "support/box_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct scene {
    struct box_fixture *box;
    char folder[64];
    char path[BOX_FIXTURE_PATH_BYTES];
};

static int scene_begin(void **state) {
    struct scene *scene = calloc(1, sizeof(*scene));
    assert_non_null(scene);
    snprintf(scene->folder, sizeof(scene->folder), "/tmp/mallard-test-XXXXXX");
    assert_non_null(mkdtemp(scene->folder));
    scene->box = box_fixture_typical();
    *state = scene;
    return 0;
}

static int remove_path(const char *path, void *context) {
    (void)context;
    unlink(path);
    return 0;
}

static int scene_end(void **state) {
    struct scene *scene = *state;
    mal_box_each(scene->folder, remove_path, NULL);
    rmdir(scene->folder);
    box_fixture_free(scene->box);
    free(scene);
    return 0;
}

static struct mal_box_reader *open_saved(struct scene *scene) {
    struct mal_box_reader *reader;
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(mal_reader_open(scene->path, &reader), 0);
    return reader;
}

static struct mal_box_reader *open_memory(struct scene *scene) {
    struct mal_box_reader *reader;
    assert_int_equal(mal_reader_from_memory(box_fixture_base(scene->box),
                                            box_fixture_bytes(scene->box), &reader),
                     0);
    return reader;
}

/* Everything that can be asked of a box. Only crashes and broken promises count. */
static void read_everything(struct mal_box_reader *reader) {
    struct mal_identity identity;
    struct mal_status status;
    struct mal_box_history_row rows[8];
    struct mal_snapshot *snapshot;
    char text[512];
    uint64_t cursor = 0;
    if (mal_reader_identity(reader, &identity) == 0)
        mal_identity_free(&identity);
    mal_reader_status(reader, &status);
    assert_true(mal_reader_history(reader, rows, 8) <= 8);
    assert_true(mal_reader_trace(reader, &cursor, text, sizeof(text)) <= (long)sizeof(text));
    if (mal_reader_snapshot(reader, &snapshot) != 0)
        return;
    for (size_t i = 0; i < snapshot->bucket_count; i++) {
        const struct mal_snapshot_bucket *bucket = &snapshot->buckets[i];
        assert_in_range(bucket->depth, 1, MAL_BOX_DEPTH_MAX);
        assert_true(bucket->frees <= bucket->allocs);
        uint64_t sum = 0;
        for (uint32_t k = 0; k < bucket->depth; k++)
            sum += bucket->pcs[k];
        assert_true(sum + 1 != 0 || sum == UINT64_MAX);
    }
    for (size_t i = 0; i < snapshot->module_count; i++)
        assert_true(strlen(snapshot->modules[i].path) < MAL_BOX_STRINGS_BYTES);
    mal_snapshot_free(snapshot);
}

static void try_memory(struct scene *scene) {
    struct mal_box_reader *reader;
    if (mal_reader_from_memory(box_fixture_base(scene->box), box_fixture_bytes(scene->box),
                               &reader) != 0)
        return;
    read_everything(reader);
    mal_reader_close(reader);
}

/* -------------------------------------------------------------------------------- good boxes */

static void test_identity(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    struct mal_identity identity;
    assert_string_equal(mal_reader_path(reader), scene->path);
    assert_int_equal(mal_reader_identity(reader, &identity), 0);
    assert_int_equal(identity.pid, getpid());
    assert_int_equal(identity.start_ticks, box_fixture_start_ticks((uint32_t)getpid()));
    assert_string_equal(identity.exe, "/usr/bin/example");
    assert_int_equal(identity.cmdline_bytes, strlen("example") + 1 + strlen("--port") + 1 + 2);
    assert_memory_equal(identity.cmdline,
                        "example\0--port\0"
                        "80\0",
                        identity.cmdline_bytes + 1);
    assert_string_equal(identity.options, "GOGC=100\n");
    assert_string_equal(identity.cgroup, "0::/example.slice");
    mal_identity_free(&identity);
    mal_reader_close(reader);
}

static enum mal_life life_of(struct scene *scene) {
    struct mal_box_reader *reader = open_memory(scene);
    struct mal_status status;
    assert_int_equal(mal_reader_status(reader, &status), 0);
    mal_reader_close(reader);
    return status.life;
}

static void test_life(void **state) {
    struct scene *scene = *state;
    uint64_t ticks = box_fixture_start_ticks((uint32_t)getpid());
    assert_int_equal(life_of(scene), MAL_LIFE_ALIVE);
    box_fixture_set_process(scene->box, (uint32_t)getpid(), 0);
    assert_int_equal(life_of(scene), MAL_LIFE_ALIVE);
    box_fixture_set_process(scene->box, (uint32_t)getpid(), ticks + 1);
    assert_int_equal(life_of(scene), MAL_LIFE_GONE);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    box_fixture_set_process(scene->box, (uint32_t)child, box_fixture_start_ticks((uint32_t)child));
    assert_int_equal(life_of(scene), MAL_LIFE_GONE); /* a zombie */
    waitpid(child, NULL, 0);
    box_fixture_set_process(scene->box, (uint32_t)child, 0);
    assert_int_equal(life_of(scene), MAL_LIFE_GONE);
    box_fixture_set_process(scene->box, 0, 0);
    assert_int_equal(life_of(scene), MAL_LIFE_GONE);
    box_fixture_set_exited(scene->box, 3);
    assert_int_equal(life_of(scene), MAL_LIFE_EXITED);
}

/* In another pid namespace: its pid here is not the one in the box. */
static void test_life_by_pid_here(void **state) {
    struct scene *scene = *state;
    struct mal_status status;
    box_fixture_set_process(scene->box, 4194301, box_fixture_start_ticks((uint32_t)getpid()));
    struct mal_box_reader *reader = open_memory(scene);
    assert_int_equal(mal_reader_status(reader, &status), 0);
    assert_int_equal(status.life, MAL_LIFE_GONE);
    mal_reader_set_pid(reader, (uint32_t)getpid());
    assert_int_equal(mal_reader_status(reader, &status), 0);
    assert_int_equal(status.life, MAL_LIFE_ALIVE);
    assert_int_equal(mal_reader_set_root(reader, "/proc/1/root"), 0);
    assert_int_equal(mal_reader_set_root(reader, "/proc/2/root"), 0);
    mal_reader_close(reader);
}

static void *stay(void *unused) {
    (void)unused;
    pause();
    return NULL;
}

/* A program's first thread may end before the others. */
static void test_life_without_first_thread(void **state) {
    (void)state;
    int ready[2];
    siginfo_t info;
    char path[64], text[64] = "";
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, stay, NULL);
        (void)!write(ready[1], "", 1);
        syscall(SYS_exit, 0);
    }
    assert_int_equal(read(ready[0], text, 1), 1);
    snprintf(path, sizeof(path), "/proc/%d/stat", child);
    while (strchr(text, 'Z') == NULL) {
        int fd = open(path, O_RDONLY);
        ssize_t got = read(fd, text, sizeof(text) - 1);
        text[got > 0 ? got : 0] = 0;
        close(fd);
        memmove(text, strrchr(text, ')'), strlen(strrchr(text, ')')) + 1);
        text[3] = 0;
    }
    assert_true(mal_reader_process_is_alive((uint32_t)child, 0));
    kill(child, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_false(mal_reader_process_is_alive((uint32_t)child, 0));
    waitpid(child, NULL, 0);
    close(ready[0]);
    close(ready[1]);
}

static void test_stats(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    struct mal_box_stats stats;
    assert_int_equal(mal_reader_stats(reader, &stats), 0);
    assert_int_equal(stats.value[MAL_STAT_MALLOCS], 1592266);
    assert_memory_equal(&stats, box_fixture_stats(scene->box), sizeof(stats));
    mal_reader_close(reader);
}

static void test_stats_being_written(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_memory(scene);
    struct mal_box_stats stats = {.class_count = 77};
    box_fixture_stats(scene->box)->sequence = 3;
    assert_int_equal(mal_reader_stats(reader, &stats), -EAGAIN);
    assert_int_equal(stats.class_count, 77);
    box_fixture_stats(scene->box)->sequence = 4;
    box_fixture_stats(scene->box)->class_count = MAL_BOX_CLASSES_MAX + 1;
    assert_int_equal(mal_reader_stats(reader, &stats), -EBADMSG);
    mal_reader_close(reader);
}

static void test_snapshot(void **state) {
    struct scene *scene = *state;
    box_fixture_header(scene->box)->dropped_samples = 5;
    box_fixture_header(scene->box)->dropped_bytes = 500;
    struct mal_box_reader *reader = open_saved(scene);
    struct mal_snapshot *snapshot;
    assert_int_equal(mal_reader_snapshot(reader, &snapshot), 0);
    assert_int_equal(snapshot->bucket_count, 4);
    assert_int_equal(snapshot->rejected, 0);
    assert_int_equal(snapshot->dropped_samples, 5);
    assert_int_equal(snapshot->dropped_bytes, 500);
    assert_int_equal(snapshot->pid, getpid());
    assert_int_equal(snapshot->mem_profile_rate, 524288);
    assert_int_equal(snapshot->module_count, box_fixture_header(scene->box)->modules_used);
    assert_int_equal(snapshot->buckets[3].size, 64 << 6);
    assert_int_equal(snapshot->buckets[3].allocs, 13);
    assert_int_equal(snapshot->buckets[3].depth, 2);
    char program[512] = "";
    assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    assert_string_equal(snapshot->modules[0].path, program);
    mal_snapshot_free(snapshot);
    mal_reader_close(reader);
}

static void test_history(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_memory(scene);
    static struct mal_box_history_row rows[MAL_BOX_HISTORY_ROWS + 10];
    assert_int_equal(mal_reader_history(reader, rows, 1000), 10);
    assert_int_equal(rows[9].rss_bytes, 70900000);
    assert_int_equal(mal_reader_history(reader, rows, 3), 3);
    assert_int_equal(rows[0].rss_bytes, 70700000);
    assert_int_equal(mal_reader_history(reader, rows, 0), 0);
    for (uint64_t i = 0; i < 2 * MAL_BOX_HISTORY_ROWS; i++) {
        struct mal_box_history_row row = {.unix_ns = i + 1};
        box_fixture_add_history(scene->box, &row);
    }
    /* The oldest row may be under the pen. */
    assert_int_equal(mal_reader_history(reader, rows, MAL_BOX_HISTORY_ROWS + 10),
                     MAL_BOX_HISTORY_ROWS - 1);
    for (uint64_t i = 0; i < MAL_BOX_HISTORY_ROWS - 1; i++)
        assert_int_equal(rows[i].unix_ns, MAL_BOX_HISTORY_ROWS + 2 + i);
    mal_reader_close(reader);
}

static void test_spans(void **state) {
    struct scene *scene = *state;
    struct mal_box_spans *spans = box_fixture_section(scene->box, MAL_BOX_SPANS);
    struct mal_span_map *map;
    struct mal_box_reader *reader = open_memory(scene);
    memset(spans, 0, sizeof(*spans));
    assert_int_equal(mal_reader_spans(reader, &map), -ENODATA);
    struct mal_box_span good = {
        .page = 3, .pages = 2, .stack = 0, .class = 1, .live = 7, .objects = 8};
    struct mal_box_span after = {.page = 5, .pages = 1, .stack = MAL_BOX_STACK_WORDS, .objects = 1};
    box_fixture_add_span(scene->box, &good);
    struct mal_box_span overlapping = good, crowded = after, empty = after, foreign = after;
    overlapping.page = 4;
    crowded.live = 2;
    empty.pages = 0;
    foreign.class = MAL_BOX_CLASSES_MAX;
    box_fixture_add_span(scene->box, &overlapping);
    box_fixture_add_span(scene->box, &crowded);
    box_fixture_add_span(scene->box, &empty);
    box_fixture_add_span(scene->box, &foreign);
    box_fixture_add_span(scene->box, &after);
    assert_int_equal(mal_reader_spans(reader, &map), 0);
    assert_int_equal(map->count, 2);
    assert_int_equal(map->total, 6);
    assert_int_equal(map->spans[0].address, (1ull << 40) + 3 * 8192);
    assert_int_equal(map->spans[0].live, 7);
    assert_int_equal(map->spans[0].depth, 2);
    assert_non_null(map->spans[0].pcs);
    assert_int_equal(map->spans[1].depth, 0);
    mal_span_map_free(map);
    spans->count = MAL_BOX_SPANS_MAX + 1;
    assert_int_equal(mal_reader_spans(reader, &map), -EBADMSG);
    spans->sequence = 3;
    assert_int_equal(mal_reader_spans(reader, &map), -EAGAIN);
    mal_reader_close(reader);
}

static void test_wait_status(void **state) {
    struct scene *scene = *state;
    char path[BOX_FIXTURE_PATH_BYTES];
    struct mal_box_reader *reader;
    struct mal_status status;
    box_fixture_save(scene->box, scene->folder, path);
    assert_int_equal(mal_reader_open(path, &reader), 0);
    assert_int_equal(mal_reader_status(reader, &status), 0);
    assert_false(status.reaped);
    assert_int_equal(mal_box_set_wait_status(path, SIGKILL), 0);
    assert_int_equal(mal_reader_status(reader, &status), 0);
    assert_true(status.reaped);
    assert_true(WIFSIGNALED(status.wait_status));
    assert_int_equal(WTERMSIG(status.wait_status), SIGKILL);
    assert_true(status.reaped_unix_ns > 0);
    mal_reader_close(reader);
    assert_int_equal(mal_box_set_wait_status("/proc/nonexistent", 0), -ENOENT);
}

static void test_trace(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_memory(scene);
    char text[256];
    uint64_t cursor = 0;
    long got = mal_reader_trace(reader, &cursor, text, sizeof(text));
    assert_true(got > 0);
    assert_memory_equal(text, "gc 1 @", 6);
    assert_int_equal(cursor, got);
    assert_int_equal(mal_reader_trace(reader, &cursor, text, sizeof(text)), 0);
    box_fixture_add_trace(scene->box, "more\n");
    assert_int_equal(mal_reader_trace(reader, &cursor, text, sizeof(text)), 5);
    assert_memory_equal(text, "more\n", 5);
    mal_reader_close(reader);
}

static void test_trace_wraps(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_memory(scene);
    static char text[2 * MAL_BOX_TRACE_BYTES];
    char line[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(line, sizeof(line), "line %09d of many\n", i);
        box_fixture_add_trace(scene->box, line);
    }
    uint64_t cursor = 1;
    long got = mal_reader_trace(reader, &cursor, text, sizeof(text));
    assert_true(got > (long)MAL_BOX_TRACE_BYTES / 2);
    assert_memory_equal(text, "line ", 5);
    assert_int_equal(got % 23, 0);
    assert_memory_equal(text + got - 23, "line 000019999 of many\n", 23);
    mal_reader_close(reader);
}

/* ------------------------------------------------------------------------ while it is written */

struct pen {
    struct scene *scene;
    void (*write)(struct scene *scene, uint64_t turn);
    bool done;
};

static void *pen_main(void *argument) {
    struct pen *pen = argument;
    for (uint64_t turn = 0; !__atomic_load_n(&pen->done, __ATOMIC_RELAXED); turn++)
        pen->write(pen->scene, turn);
    return NULL;
}

static void pen_start(struct pen *pen, pthread_t *ret_thread) {
    assert_int_equal(pthread_create(ret_thread, NULL, pen_main, pen), 0);
}

static void pen_stop(struct pen *pen, pthread_t thread) {
    __atomic_store_n(&pen->done, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
}

/* An object comes and goes, counted in two stripes. */
static void count_pair(struct scene *scene, uint64_t turn) {
    (void)turn;
    __atomic_fetch_add(box_fixture_allocs(scene->box, 1), 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(box_fixture_frees(scene->box, 1), 1, __ATOMIC_RELEASE);
}

static void test_counts_while_written(void **state) {
    struct scene *scene = *state;
    struct pen pen = {scene, count_pair, false};
    struct mal_box_reader *reader = open_memory(scene);
    pthread_t thread;
    pen_start(&pen, &thread);
    for (int i = 0; i < 300; i++) {
        struct mal_snapshot *snapshot;
        assert_int_equal(mal_reader_snapshot(reader, &snapshot), 0);
        assert_int_equal(snapshot->rejected, 0);
        assert_true(snapshot->buckets[1].frees <= snapshot->buckets[1].allocs);
        mal_snapshot_free(snapshot);
    }
    pen_stop(&pen, thread);
    mal_reader_close(reader);
}

/* A writer that is faster than any, or an enemy. */
static void jump(struct scene *scene, uint64_t turn) {
    struct mal_box_history *history = box_fixture_section(scene->box, MAL_BOX_HISTORY);
    struct mal_box_trace *trace = box_fixture_section(scene->box, MAL_BOX_TRACE);
    static const uint64_t steps[] = {10, 1u << 30, 5000, UINT64_MAX, 1ull << 40};
    uint64_t written = steps[turn % (sizeof(steps) / sizeof(steps[0]))];
    __atomic_store_n(&history->written, written, __ATOMIC_RELEASE);
    __atomic_store_n(&trace->written, written, __ATOMIC_RELEASE);
}

static void test_rings_while_written(void **state) {
    struct scene *scene = *state;
    struct pen pen = {scene, jump, false};
    struct mal_box_reader *reader = open_memory(scene);
    static struct mal_box_history_row rows[MAL_BOX_HISTORY_ROWS];
    char text[512];
    pthread_t thread;
    pen_start(&pen, &thread);
    for (int i = 0; i < 3000; i++) {
        uint64_t cursor = 0;
        assert_true(mal_reader_history(reader, rows, 8) <= 8);
        assert_true(mal_reader_trace(reader, &cursor, text, sizeof(text)) <= (long)sizeof(text));
    }
    pen_stop(&pen, thread);
    mal_reader_close(reader);
}

/* Lines of which each is the same letter all along, appended as a writer does. */
static void append_line(struct scene *scene, uint64_t turn) {
    struct mal_box_trace *trace = box_fixture_section(scene->box, MAL_BOX_TRACE);
    uint64_t written = trace->written;
    for (uint64_t i = 0; i < 4000; i++)
        __atomic_store_n(&trace->text[(written + i) % MAL_BOX_TRACE_BYTES],
                         i < 3999 ? (char)('a' + turn % 26) : '\n', __ATOMIC_RELAXED);
    __atomic_store_n(&trace->written, written + 4000, __ATOMIC_RELEASE);
}

static void test_trace_while_written(void **state) {
    struct scene *scene = *state;
    struct pen pen = {scene, append_line, false};
    struct mal_box_reader *reader = open_memory(scene);
    static char text[MAL_BOX_TRACE_BYTES];
    struct mal_box_trace *trace = box_fixture_section(scene->box, MAL_BOX_TRACE);
    pthread_t thread;
    trace->written = 0;
    for (uint64_t turn = 0; turn < 2 * MAL_BOX_TRACE_BYTES / 4000; turn++)
        append_line(scene, turn);
    uint64_t cursor = 0;
    long got = mal_reader_trace(reader, &cursor, text, sizeof(text));
    assert_in_range(got, 1, MAL_BOX_TRACE_BYTES - 4096); /* as much may be under the pen */
    pen_start(&pen, &thread);
    for (int i = 0; i < 300; i++) {
        cursor = 0;
        got = mal_reader_trace(reader, &cursor, text, sizeof(text));
        assert_true(got > 0 || got == -EAGAIN);
        for (long at = 1; at < got; at++)
            assert_true(text[at] == text[at - 1] || text[at] == '\n' || text[at - 1] == '\n');
    }
    pen_stop(&pen, thread);
    mal_reader_close(reader);
}

/* -------------------------------------------------------------------------------- bad boxes */

static void test_not_a_box(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader;
    char path[512];
    assert_int_equal(mal_reader_open("/proc/nonexistent/1.1.mallard", &reader), -ENOENT);
    assert_int_equal(mal_reader_open(scene->folder, &reader), -EBADMSG);
    snprintf(path, sizeof(path), "%s/1.1.mallard", scene->folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(mal_reader_open(path, &reader), -EBADMSG);
    unlink(path);
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(symlink(scene->path, path), 0);
    assert_int_equal(mal_reader_open(path, &reader), -ELOOP);
    int fd = open(path, O_RDONLY | O_NOFOLLOW);
    assert_int_equal(fd, -1);
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    assert_int_equal(mal_reader_open(path, &reader), -EBADMSG);
    assert_int_equal(mal_reader_from_memory("MALLARD\n", 8, &reader), -EBADMSG);
}

static void test_other_version(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader;
    box_fixture_header(scene->box)->version = MAL_BOX_VERSION + 1;
    assert_int_equal(mal_reader_from_memory(box_fixture_base(scene->box), MAL_BOX_BYTES, &reader),
                     -EPROTO);
    uint32_t version = 0;
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(mal_reader_open(scene->path, &reader), -EPROTO);
    assert_int_equal(mal_box_version(scene->path, &version), 0);
    assert_int_equal(version, MAL_BOX_VERSION + 1);
    assert_int_equal(truncate(scene->path, 11), 0);
    assert_int_equal(mal_box_version(scene->path, &version), -EBADMSG);
    box_fixture_header(scene->box)->magic[0] = 'm';
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(mal_box_version(scene->path, &version), -EBADMSG);
    assert_int_equal(version, MAL_BOX_VERSION + 1);
    unlink(scene->path);
    assert_int_equal(mal_box_version(scene->path, &version), -ENOENT);
}

static void test_unfinished(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader;
    uint32_t version;
    box_fixture_header(scene->box)->state = 0;
    assert_int_equal(mal_reader_from_memory(box_fixture_base(scene->box), MAL_BOX_BYTES, &reader),
                     -EBADMSG);
    box_fixture_header(scene->box)->version = 0;
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(mal_reader_open(scene->path, &reader), -EBADMSG);
    assert_int_equal(mal_box_version(scene->path, &version), -EBADMSG);
    unlink(scene->path);
}

/* Every 32-bit word of the header takes values that break sizes, offsets and sums. */
static void test_every_header_field(void **state) {
    struct scene *scene = *state;
    static const uint32_t values[] = {0, 1, 3, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
    uint32_t *words = box_fixture_base(scene->box);
    for (size_t at = 0; at < sizeof(struct mal_box_header) / 4; at++) {
        uint32_t good = words[at];
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            words[at] = values[i];
            try_memory(scene);
            words[at] = good + (uint32_t)i;
            try_memory(scene);
        }
        words[at] = good;
    }
}

static void test_every_length(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    mal_reader_close(reader);
    /* Downwards: what was cut off once is zeros when the file grows again. */
    for (uint64_t bytes = MAL_BOX_BYTES - 1; bytes > 0; bytes /= 2) {
        assert_int_equal(truncate(scene->path, (off_t)bytes), 0);
        assert_int_equal(mal_reader_open(scene->path, &reader), -EBADMSG);
    }
}

/* Sections that overlap, or that reach beyond the file. */
static void test_bad_sections(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader;
    struct mal_box_section *section = box_fixture_header(scene->box)->section;
    struct mal_box_section good = section[MAL_BOX_TRACE];
    const struct mal_box_section bad[] = {
        {good.offset - MAL_BOX_PAGE_BYTES, good.bytes},
        {0, good.bytes},
        {good.offset + 8, good.bytes},
        {good.offset, good.bytes + 64 * MAL_BOX_BYTES},
        {good.offset, UINT64_MAX - good.offset + 1 + MAL_BOX_PAGE_BYTES},
        {good.offset, sizeof(struct mal_box_trace) - 1},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        section[MAL_BOX_TRACE] = bad[i];
        assert_int_equal(
            mal_reader_from_memory(box_fixture_base(scene->box), MAL_BOX_BYTES, &reader), -EBADMSG);
    }
}

/* Truncated while open: what is gone is an error, not what happened to be in memory. */
static void test_gone_while_open(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    struct mal_box_stats *stats = malloc(sizeof(*stats));
    struct mal_snapshot *snapshot;
    struct mal_status status;
    assert_int_equal(truncate(scene->path, 0), 0);
    assert_int_equal(mal_reader_stats(reader, stats), -EBADMSG);
    assert_int_equal(mal_reader_snapshot(reader, &snapshot), -EBADMSG);
    assert_int_equal(mal_reader_status(reader, &status), -EBADMSG);
    free(stats);
    mal_reader_close(reader);
}

/* Truncated while open, at every page of what is in use: an error, no signal. */
static void test_cut_while_open(void **state) {
    struct scene *scene = *state;
    const struct mal_box_header *header = box_fixture_header(scene->box);
    for (int id = 0; id < MAL_BOX_SECTIONS; id++) {
        for (uint64_t more = 0; more < 3; more++) {
            struct mal_box_reader *reader = open_saved(scene);
            uint64_t bytes = header->section[id].offset + more * MAL_BOX_PAGE_BYTES;
            assert_int_equal(truncate(scene->path, (off_t)bytes), 0);
            read_everything(reader);
            int64_t result;
            assert_int_not_equal(mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, 20, &result),
                                 0);
            mal_reader_close(reader);
        }
    }
}

static size_t rejected_now(struct scene *scene, size_t *ret_buckets) {
    struct mal_box_reader *reader = open_memory(scene);
    struct mal_snapshot *snapshot;
    assert_int_equal(mal_reader_snapshot(reader, &snapshot), 0);
    size_t rejected = snapshot->rejected;
    *ret_buckets = snapshot->bucket_count;
    mal_snapshot_free(snapshot);
    mal_reader_close(reader);
    return rejected;
}

static void test_more_frees_than_allocs(void **state) {
    struct scene *scene = *state;
    size_t left;
    *box_fixture_frees(scene->box, 1) = *box_fixture_allocs(scene->box, 1) + 1;
    assert_int_equal(rejected_now(scene, &left), 1);
    assert_int_equal(left, 3);
}

/* Counts that would lie outside of their section, or be none. */
static void test_bad_stripes(void **state) {
    struct scene *scene = *state;
    struct mal_box_header *header = box_fixture_header(scene->box);
    struct mal_box_reader *reader;
    static const uint32_t bad[] = {0, MAL_BOX_STRIPES_MAX + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        header->stripes = bad[i];
        assert_int_equal(mal_reader_from_memory(header, MAL_BOX_BYTES, &reader), -EBADMSG);
    }
    header->stripes = 2;
    header->section[MAL_BOX_COUNTS].bytes = 2 * 64 - 1; /* four buckets have two lines */
    assert_int_equal(mal_reader_from_memory(header, MAL_BOX_BYTES, &reader), -EBADMSG);
    header->section[MAL_BOX_COUNTS].bytes = 2 * 64;
    assert_int_equal(mal_reader_from_memory(header, MAL_BOX_BYTES, &reader), 0);
    mal_reader_close(reader);
}

static void test_bad_buckets(void **state) {
    struct scene *scene = *state;
    struct mal_box_bucket *buckets = box_fixture_section(scene->box, MAL_BOX_BUCKETS);
    struct mal_box_bucket good = buckets[1];
    uint64_t *stacks = box_fixture_section(scene->box, MAL_BOX_STACKS);
    uint32_t used = box_fixture_header(scene->box)->stacks_used;
    size_t left;
    struct mal_box_bucket bad[5] = {good, good, good, good, good};
    bad[0].stack = used;
    bad[1].stack = UINT32_MAX;
    bad[2].size = 0;
    bad[3].kind = 2;
    bad[4].stack = used - 1; /* one address, which would lie behind the last word */
    stacks[used - 1] = 1;
    for (int i = 0; i < 5; i++) {
        buckets[1] = bad[i];
        assert_int_equal(rejected_now(scene, &left), 1);
        assert_int_equal(left, 3);
    }
    buckets[1] = good;
    static const uint64_t depths[] = {0, MAL_BOX_DEPTH_MAX + 1, UINT64_MAX, 100};
    for (int i = 0; i < 4; i++) {
        stacks[good.stack] = depths[i];
        assert_int_equal(rejected_now(scene, &left), 1);
        assert_int_equal(left, 3);
    }
}

static void test_bad_modules(void **state) {
    struct scene *scene = *state;
    struct mal_box_module *modules = box_fixture_section(scene->box, MAL_BOX_MODULES);
    struct mal_box_module good = modules[0];
    size_t left;
    struct mal_box_module bad[5] = {good, good, good, good, good};
    bad[0].limit = good.start;
    bad[1].build_id_bytes = MAL_BOX_BUILD_ID_MAX + 1;
    bad[2].path.bytes = UINT32_MAX;
    bad[3].path.offset = UINT32_MAX;
    bad[4].path.offset = box_fixture_header(scene->box)->strings_used - 1;
    for (int i = 0; i < 5; i++) {
        modules[0] = bad[i];
        assert_int_equal(rejected_now(scene, &left), 1);
    }
}

static void test_bad_rings(void **state) {
    struct scene *scene = *state;
    static const uint64_t counts[] = {UINT64_MAX, UINT64_MAX - 1, 1ull << 63, 1ull << 32};
    struct mal_box_history *history = box_fixture_section(scene->box, MAL_BOX_HISTORY);
    struct mal_box_trace *trace = box_fixture_section(scene->box, MAL_BOX_TRACE);
    for (int i = 0; i < 4; i++) {
        history->written = trace->written = counts[i];
        try_memory(scene);
    }
}

static void test_bad_identity(void **state) {
    struct scene *scene = *state;
    struct mal_identity identity;
    box_fixture_header(scene->box)->exe.bytes = 0x7fffffff;
    struct mal_box_reader *reader = open_memory(scene);
    assert_int_equal(mal_reader_identity(reader, &identity), -EBADMSG);
    mal_reader_close(reader);
    const struct mal_box_header *header = box_fixture_header(scene->box);
    const struct mal_box_string bad[] = {
        {header->strings_used - 3, 4},
        {header->strings_used + 1, 0},
        {UINT32_MAX, 2},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        box_fixture_header(scene->box)->exe = bad[i];
        reader = open_memory(scene);
        assert_int_equal(mal_reader_identity(reader, &identity), -EBADMSG);
        mal_reader_close(reader);
    }
}

/* No text is as long as a hostile box may say. */
static void test_long_identity(void **state) {
    struct scene *scene = *state;
    struct mal_identity identity;
    struct mal_box_header *header = box_fixture_header(scene->box);
    header->strings_used = MAL_BOX_STRINGS_BYTES;
    header->cmdline = (struct mal_box_string){0, 128u << 10};
    struct mal_box_reader *reader = open_memory(scene);
    assert_int_equal(mal_reader_identity(reader, &identity), 0);
    mal_identity_free(&identity);
    mal_reader_close(reader);
    header->cmdline.bytes++;
    reader = open_memory(scene);
    assert_int_equal(mal_reader_identity(reader, &identity), -EBADMSG);
    mal_reader_close(reader);
}

/* ---------------------------------------------------------------------------------- commands */

static int64_t answer(uint32_t command, int64_t argument, int32_t *ret_error) {
    if (command == MAL_BOX_CMD_SET_GOGC) {
        *ret_error = -EINVAL;
        return 0;
    }
    return command * 1000 + argument;
}

static void check_commands(struct mal_box_reader *reader) {
    int64_t result = -1;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, i, 2000, &result), 0);
        assert_int_equal(result, MAL_BOX_CMD_SET_RATE * 1000 + i);
    }
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_GOGC, 1, 2000, &result), -EINVAL);
    assert_int_equal(result, MAL_BOX_CMD_SET_RATE * 1000 + 49);
}

/* How often this process maps the file. */
static int mappings_of(const char *path) {
    char line[1024];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL)
        count += strstr(line, path) != NULL;
    fclose(maps);
    return count;
}

static void test_command_file(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    struct box_server *server = box_server_start(scene->path, answer);
    int before = mappings_of(scene->path);
    check_commands(reader);
    assert_int_equal(mappings_of(scene->path), before);
    box_server_stop(server);
    mal_reader_close(reader);
}

static void test_command_memory(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_memory(scene);
    struct box_server *server = box_server_start_memory(scene->box, answer);
    box_fixture_mailbox(scene->box)->owner = 0x7ffffffe; /* left by a reader that is gone */
    check_commands(reader);
    assert_int_equal(box_fixture_mailbox(scene->box)->owner, 0);
    box_server_stop(server);
    mal_reader_close(reader);
}

static void test_command_refused(void **state) {
    struct scene *scene = *state;
    int64_t result;
    struct mal_box_reader *reader = open_saved(scene);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, 50, &result), -ESRCH);
    mal_reader_close(reader);
    box_fixture_mailbox(scene->box)->served = 1;
    reader = open_saved(scene);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, 50, &result), -ETIMEDOUT);
    mal_reader_close(reader);
    box_fixture_set_exited(scene->box, 0);
    reader = open_saved(scene);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, 50, &result), -ESRCH);
    mal_reader_close(reader);
}

/* An enemy's errors are none of the kernel's. */
static int64_t bad_answer(uint32_t command, int64_t argument, int32_t *ret_error) {
    (void)command;
    *ret_error = (int32_t)argument;
    return 1;
}

static void test_command_bad_answer(void **state) {
    struct scene *scene = *state;
    int64_t result = 0;
    struct mal_box_reader *reader = open_saved(scene);
    struct box_server *server = box_server_start(scene->path, bad_answer);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, 5, 2000, &result), -EBADMSG);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, -4096, 2000, &result),
                     -EBADMSG);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, -4095, 2000, &result), -4095);
    assert_int_equal(result, 0);
    box_server_stop(server);
    mal_reader_close(reader);
}

static void test_command_read_only(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader;
    int64_t result;
    box_fixture_mailbox(scene->box)->served = 1;
    box_fixture_save(scene->box, scene->folder, scene->path);
    int fd = open(scene->path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(mal_reader_from_fd(fd, scene->path, &reader), 0);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_PUBLISH, 0, 50, &result), -EROFS);
    mal_reader_close(reader);
}

static int64_t slow_answer(uint32_t command, int64_t argument, int32_t *ret_error) {
    if (argument == 1)
        usleep(100000);
    return answer(command, argument, ret_error);
}

/* The answer to an order that was given up must not be taken for that of the next. */
static void test_command_after_timeout(void **state) {
    struct scene *scene = *state;
    int64_t result;
    struct mal_box_reader *reader = open_saved(scene);
    struct box_server *server = box_server_start(scene->path, slow_answer);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, 1, 20, &result), -ETIMEDOUT);
    assert_int_equal(mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, 2, 2000, &result), 0);
    assert_int_equal(result, MAL_BOX_CMD_SET_RATE * 1000 + 2);
    box_server_stop(server);
    mal_reader_close(reader);
}

static void test_command_many_readers(void **state) {
    struct scene *scene = *state;
    struct mal_box_reader *reader = open_saved(scene);
    struct box_server *server = box_server_start(scene->path, answer);
    mal_reader_close(reader);
    pid_t children[4];
    for (int child = 0; child < 4; child++) {
        children[child] = fork();
        if (children[child] != 0)
            continue;
        int64_t result;
        int bad = mal_reader_open(scene->path, &reader) != 0;
        for (int i = 0; !bad && i < 25; i++) {
            int64_t argument = child * 100 + i;
            bad |= mal_reader_command(reader, MAL_BOX_CMD_SET_RATE, argument, 5000, &result) != 0;
            bad |= result != MAL_BOX_CMD_SET_RATE * 1000 + argument;
        }
        _exit(bad);
    }
    for (int child = 0; child < 4; child++) {
        int status;
        waitpid(children[child], &status, 0);
        assert_int_equal(status, 0);
    }
    box_server_stop(server);
}

/* ---------------------------------------------------------------------------------- the folder */

static int count_path(const char *path, void *context) {
    (void)path;
    ++*(int *)context;
    return 0;
}

static void touch(const char *folder, const char *name) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void test_each(void **state) {
    struct scene *scene = *state;
    int count = 0;
    char path[512];
    static const char *const others[] = {"x.1.mallard", "1.mallard",  "1.1.mallard~",
                                         ".1.1",        "1..mallard", "4294967297.1.mallard"};
    const size_t count_of_others = sizeof(others) / sizeof(others[0]);
    for (size_t i = 0; i < count_of_others; i++)
        touch(scene->folder, others[i]);
    touch(scene->folder, "12.34.mallard");
    touch(scene->folder, "12.0.mallard");
    assert_int_equal(mal_box_each(scene->folder, count_path, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(mal_box_each("/proc/nonexistent", count_path, &count), -ENOENT);
    for (size_t i = 0; i < count_of_others; i++) {
        snprintf(path, sizeof(path), "%s/%s", scene->folder, others[i]);
        unlink(path);
    }
}

static void test_collect_stale(void **state) {
    struct scene *scene = *state;
    char paths[5][BOX_FIXTURE_PATH_BYTES];
    box_fixture_save(scene->box, scene->folder, paths[0]); /* this process */
    for (uint32_t i = 1; i < 5; i++) {
        box_fixture_set_process(scene->box, 4194304 + i, i);
        box_fixture_header(scene->box)->started_unix_ns = 1000 - i;
        box_fixture_save(scene->box, scene->folder, paths[i]);
    }
    touch(scene->folder, "4194400.7.mallard"); /* unfinished, its process gone */
    assert_int_equal(mal_box_collect_stale(scene->folder, 2), 3);
    assert_int_equal(access(paths[0], F_OK), 0);
    assert_int_equal(access(paths[1], F_OK), 0);
    assert_int_equal(access(paths[2], F_OK), 0);
    assert_int_equal(access(paths[3], F_OK), -1);
    assert_int_equal(access(paths[4], F_OK), -1);
    assert_int_equal(mal_box_collect_stale(scene->folder, 0), 2);
    assert_int_equal(access(paths[0], F_OK), 0);
    assert_int_equal(mal_box_collect_stale(scene->folder, 0), 0);
}

/* Of another version, or of another user: theirs to remove. */
static void test_collect_stale_of_others(void **state) {
    struct scene *scene = *state;
    box_fixture_set_process(scene->box, 4194301, 1);
    box_fixture_header(scene->box)->version = MAL_BOX_VERSION + 1;
    box_fixture_save(scene->box, scene->folder, scene->path);
    assert_int_equal(mal_box_collect_stale(scene->folder, 0), 0);
    box_fixture_header(scene->box)->version = MAL_BOX_VERSION;
    box_fixture_save(scene->box, scene->folder, scene->path);
    if (geteuid() == 0) {
        assert_int_equal(chown(scene->path, 65534, 65534), 0);
        assert_int_equal(mal_box_collect_stale(scene->folder, 0), 0);
        assert_int_equal(chown(scene->path, 0, 0), 0);
    }
    assert_int_equal(mal_box_collect_stale(scene->folder, 0), 1);
}

static int folder_make(char *ret_path, size_t bytes) {
    struct mal_box_place place;
    mal_box_place_read(&place);
    return mal_box_folder_make(&place, ret_path, bytes);
}

static void test_folder(void **state) {
    struct scene *scene = *state;
    char folder[256], made[256], expected[300];
    setenv("MALLARD_DIR", scene->folder, 1);
    assert_int_equal(mal_box_folder(folder, sizeof(folder)), 0);
    assert_string_equal(folder, scene->folder);
    assert_int_equal(mal_box_folder(folder, 5), -ENAMETOOLONG);
    char longest[MAL_BOX_FOLDER_BYTES + 1] = {0};
    memset(longest, '/', MAL_BOX_FOLDER_BYTES);
    setenv("MALLARD_DIR", longest, 1);
    assert_int_equal(folder_make(made, sizeof(made)), -ENAMETOOLONG);
    setenv("MALLARD_DIR", "/proc/nonexistent/folder", 1);
    assert_int_equal(folder_make(made, sizeof(made)), -ENOENT);
    unsetenv("MALLARD_DIR");
    if (access("/run/mallard", F_OK) == 0)
        skip();
    setenv("XDG_RUNTIME_DIR", scene->folder, 1);
    snprintf(expected, sizeof(expected), "%s/mallard", scene->folder);
    assert_int_equal(folder_make(made, sizeof(made)), 0);
    assert_string_equal(made, expected);
    assert_int_equal(mal_box_folder(folder, sizeof(folder)), 0);
    assert_string_equal(folder, expected);
    struct stat status;
    assert_int_equal(stat(expected, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    /* A folder that others can write to is passed over. */
    assert_int_equal(chmod(expected, 0777), 0);
    assert_int_equal(folder_make(made, sizeof(made)), 0);
    assert_string_not_equal(made, expected);
    rmdir(expected);
    unsetenv("XDG_RUNTIME_DIR");
}

int main(void) {
#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_begin, scene_end)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(test_identity),
        SCENE_TEST(test_life),
        SCENE_TEST(test_life_by_pid_here),
        SCENE_TEST(test_life_without_first_thread),
        SCENE_TEST(test_stats),
        SCENE_TEST(test_stats_being_written),
        SCENE_TEST(test_snapshot),
        SCENE_TEST(test_history),
        SCENE_TEST(test_spans),
        SCENE_TEST(test_wait_status),
        SCENE_TEST(test_trace),
        SCENE_TEST(test_trace_wraps),
        SCENE_TEST(test_counts_while_written),
        SCENE_TEST(test_rings_while_written),
        SCENE_TEST(test_trace_while_written),
        SCENE_TEST(test_not_a_box),
        SCENE_TEST(test_other_version),
        SCENE_TEST(test_unfinished),
        SCENE_TEST(test_every_header_field),
        SCENE_TEST(test_every_length),
        SCENE_TEST(test_bad_sections),
        SCENE_TEST(test_gone_while_open),
        SCENE_TEST(test_cut_while_open),
        SCENE_TEST(test_bad_buckets),
        SCENE_TEST(test_more_frees_than_allocs),
        SCENE_TEST(test_bad_stripes),
        SCENE_TEST(test_bad_modules),
        SCENE_TEST(test_bad_rings),
        SCENE_TEST(test_bad_identity),
        SCENE_TEST(test_long_identity),
        SCENE_TEST(test_command_file),
        SCENE_TEST(test_command_memory),
        SCENE_TEST(test_command_refused),
        SCENE_TEST(test_command_bad_answer),
        SCENE_TEST(test_command_read_only),
        SCENE_TEST(test_command_after_timeout),
        SCENE_TEST(test_command_many_readers),
        SCENE_TEST(test_each),
        SCENE_TEST(test_collect_stale),
        SCENE_TEST(test_collect_stale_of_others),
        SCENE_TEST(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
