/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a box, read back with nothing but layout.h: header, appended sections, the sequence lock,
 * the rings, full tables, the mailbox, a forked child's inheritance, and places that cannot hold a
 * box.
 */
#include "box/writer.h"
#include "os/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/emulated.h"

static char folder[64];
static int box_fd;
static struct mal_box_header header; /* as last read */

static void read_at(uint64_t offset, void *ret_data, size_t bytes) {
    assert_int_equal(pread(box_fd, ret_data, bytes, (off_t)offset), bytes);
}

static void read_header(void) {
    read_at(0, &header, sizeof header);
}

static uint64_t offset_of(enum mal_box_section_id section, uint64_t at) {
    read_header();
    assert_true(at < header.section[section].bytes);
    return header.section[section].offset + at;
}

static void place_boxes_in(const char *path) {
    setenv("MALLARD_DIR", path, 1);
    mal_writer_remember_place();
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/dev/shm/mallard-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    place_boxes_in(folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(mal_writer_path());
    return rmdir(folder);
}

static void a_box_is_a_private_sparse_file(void **state) {
    (void)state;
    struct stat status;
    assert_false(mal_writer_is_open());
    assert_int_equal(mal_writer_open("KNOB=1\nOTHER=x\n", 4), 0);
    mal_writer_announce();
    assert_true(mal_writer_is_open());
    assert_memory_equal(mal_writer_path(), folder, strlen(folder));
    box_fd = open(mal_writer_path(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(box_fd >= 0);
    assert_int_equal(fstat(box_fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(status.st_size, MAL_BOX_BYTES);
    assert_true(status.st_blocks * 512 < 1 << 20);
}

static void sections_are_whole_pages_that_do_not_overlap(void **state) {
    (void)state;
    uint64_t end = MAL_BOX_PAGE_BYTES;
    read_header();
    for (int i = 0; i < MAL_BOX_SECTIONS; i++) {
        assert_int_equal(header.section[i].offset % MAL_BOX_PAGE_BYTES, 0);
        assert_true(header.section[i].offset >= end);
        end = header.section[i].offset + header.section[i].bytes;
    }
    assert_true(end <= header.file_bytes);
}

static void assert_text(struct mal_box_string string, const char *wanted) {
    char text[4096];
    assert_true(string.bytes < sizeof text);
    read_at(offset_of(MAL_BOX_STRINGS, string.offset), text, string.bytes);
    text[string.bytes] = '\0';
    assert_string_equal(text, wanted);
}

static void the_header_says_who_writes(void **state) {
    (void)state;
    char exe[4096] = {0};
    read_header();
    assert_memory_equal(header.magic, MAL_BOX_MAGIC, 8);
    assert_int_equal(header.version, MAL_BOX_VERSION);
    assert_int_equal(header.header_bytes, sizeof header);
    assert_int_equal(header.file_bytes, MAL_BOX_BYTES);
    assert_int_equal(header.pid, getpid());
    assert_int_equal(header.parent_pid, getppid());
    assert_int_equal(header.uid, getuid());
    assert_int_equal(header.flags, 0);
    assert_int_equal(header.cpus, 4);
    assert_int_equal(header.stripes, 4);
    assert_int_equal(header.state, MAL_BOX_RUNNING);
    assert_true(header.start_ticks > 0 && header.started_unix_ns > 0);
    assert_true(readlink("/proc/self/exe", exe, sizeof exe - 1) > 0);
    assert_text(header.exe, exe);
    assert_text(header.options, "KNOB=1\nOTHER=x\n");
}

static void what_is_appended_can_be_read(void **state) {
    (void)state;
    uintptr_t pcs[3] = {0x1111, 0x2222, 0x3333};
    uint64_t words[4];
    uint32_t stack = mal_writer_add_stack(pcs, 3);
    read_at(offset_of(MAL_BOX_STACKS, stack * 8ull), words, sizeof words);
    assert_int_equal(words[0], 3);
    assert_int_equal(words[3], 0x3333);
    struct mal_box_bucket key = {.stack = stack, .size = 64, .rate = 512}, bucket;
    uint32_t at = mal_writer_add_bucket(&key);
    read_at(offset_of(MAL_BOX_BUCKETS, at * sizeof bucket), &bucket, sizeof bucket);
    assert_int_equal(bucket.stack, stack);
    assert_int_equal(header.stacks_used, stack + 4);
    assert_int_equal(header.buckets_used, at + 1);
    assert_text(mal_writer_add_string("some text", 9), "some text");
}

/* Five buckets have two lines in each stripe; no two counts are in one place. */
static void counts_lie_apart(void **state) {
    (void)state;
    struct mal_writer_counts counts = mal_writer_counts();
    struct mal_box_bucket key = {.size = 80, .rate = 512};
    struct mal_box_count count;
    uint32_t first = mal_writer_add_bucket(&key);
    for (int i = 1; i < 5; i++)
        assert_int_equal(mal_writer_add_bucket(&key), first + (uint32_t)i);
    for (uint32_t i = 0; i < 5 * counts.stripes; i++) {
        uint64_t at = mal_box_count_at(first + i % 5, i / 5, counts.stripes);
        assert_int_equal(counts.count[at].allocs, 0);
        counts.count[at] = (struct mal_box_count){100 + i, i};
        read_at(offset_of(MAL_BOX_COUNTS, at * sizeof count), &count, sizeof count);
        assert_int_equal(count.allocs - count.frees, 100);
        assert_true((at + 1) * sizeof count <= mal_box_counts_bytes(first + 5, counts.stripes));
    }
}

static void a_module_can_be_read(void **state) {
    (void)state;
    struct mal_box_module module = {.start = 0x1000, .limit = 0x2000, .build_id_bytes = 4}, got;
    uint32_t at = mal_writer_module_count();
    module.path = mal_writer_add_string("/lib/x.so", 9);
    memcpy(module.build_id, "abcd", 4);
    assert_true(mal_writer_add_module(&module));
    read_at(offset_of(MAL_BOX_MODULES, at * sizeof got), &got, sizeof got);
    module.first_stack = header.stacks_used;
    assert_true(module.first_stack > 0);
    assert_memory_equal(&got, &module, sizeof got);
    assert_int_equal(header.modules_used, at + 1);
    assert_text(got.path, "/lib/x.so");
}

static void the_rate_and_the_dropped_are_in_the_header(void **state) {
    (void)state;
    mal_writer_set_rate(4711);
    mal_writer_drop(100);
    mal_writer_drop(28);
    read_header();
    assert_int_equal(header.mem_profile_rate, 4711);
    assert_int_equal(header.dropped_samples, 2);
    assert_int_equal(header.dropped_bytes, 128);
}

/* ---- statistics ---- */

static struct mal_box_stats row;

static void fill_row(uint64_t n) {
    for (int i = 0; i < MAL_STAT_COUNT; i++)
        row.value[i] = n;
    row.class_count = n;
}

static void *publish_on_and_on(void *argument) {
    const int *stop = argument;
    for (uint64_t n = 1; !__atomic_load_n(stop, __ATOMIC_ACQUIRE); n++) {
        fill_row(n);
        mal_writer_publish(&row);
    }
    return NULL;
}

/* Copies until the sequence was even and the same before and after. */
static void read_stats(struct mal_box_stats *ret_stats) {
    uint64_t offset = offset_of(MAL_BOX_STATS, 0), before, after;
    do {
        read_at(offset, &before, sizeof before);
        read_at(offset, ret_stats, sizeof *ret_stats);
        read_at(offset, &after, sizeof after);
    } while (before % 2 == 1 || before != after);
}

static void a_copy_under_the_sequence_lock_is_whole(void **state) {
    (void)state;
    static struct mal_box_stats copy;
    pthread_t writer;
    int stop = 0;
    uint64_t newest = 0;
    assert_int_equal(pthread_create(&writer, NULL, publish_on_and_on, &stop), 0);
    for (int i = 0; i < 2000; i++) {
        read_stats(&copy);
        for (int n = 1; n < MAL_STAT_COUNT; n++)
            assert_int_equal(copy.value[n], copy.value[0]);
        assert_int_equal(copy.class_count, copy.value[0]);
        assert_true(copy.value[0] >= newest);
        newest = copy.value[0];
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(writer, NULL);
}

#define PUBLICATIONS 200000u

static void *publish_some(void *argument) {
    static const struct mal_box_stats empty;
    (void)argument;
    for (unsigned i = 0; i < PUBLICATIONS; i++)
        mal_writer_publish(&empty);
    return NULL;
}

static void writers_of_statistics_take_turns(void **state) {
    (void)state;
    static struct mal_box_stats copy;
    pthread_t writer[2];
    read_stats(&copy);
    uint64_t before = copy.sequence;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writer[i], NULL, publish_some, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writer[i], NULL);
    read_stats(&copy);
    assert_int_equal(copy.sequence - before, 2 * 2 * PUBLICATIONS);
}

static uint64_t history_written(void) {
    uint64_t written;
    read_at(offset_of(MAL_BOX_HISTORY, 0), &written, sizeof written);
    return written;
}

static struct mal_box_history_row history_row(uint64_t n) {
    struct mal_box_history_row got;
    uint64_t slot = n % MAL_BOX_HISTORY_ROWS;
    uint64_t at = offsetof(struct mal_box_history, row) + slot * sizeof got;
    read_at(offset_of(MAL_BOX_HISTORY, at), &got, sizeof got);
    return got;
}

/* One row a second, however often statistics are published; the ring wraps. */
static void history_is_a_row_a_second(void **state) {
    (void)state;
    uint64_t start_ns = 2000000000ull * 1000000000, first = history_written();
    for (uint64_t tick = 0; tick < 2 * (MAL_BOX_HISTORY_ROWS + 10); tick++) {
        fill_row(tick);
        row.published_unix_ns = start_ns + tick * 500000000;
        mal_writer_publish(&row);
    }
    assert_int_equal(history_written() - first, MAL_BOX_HISTORY_ROWS + 10);
    struct mal_box_history_row newest = history_row(history_written() - 1);
    struct mal_box_history_row oldest = history_row(history_written());
    assert_int_equal(newest.unix_ns - oldest.unix_ns, (MAL_BOX_HISTORY_ROWS - 1) * 1000000000ull);
    assert_int_equal(newest.heap_alloc_bytes, 2 * (MAL_BOX_HISTORY_ROWS + 9));
    assert_int_equal(newest.cache_bytes, 2 * newest.heap_alloc_bytes);
}

/* ---- trace ---- */

static void read_trace(uint64_t from, char *ret_text, uint64_t *ret_written) {
    static struct mal_box_trace trace;
    read_at(offset_of(MAL_BOX_TRACE, 0), &trace, sizeof trace);
    *ret_written = trace.written;
    for (uint64_t at = from; at < trace.written; at++)
        *ret_text++ = trace.text[at % MAL_BOX_TRACE_BYTES];
    *ret_text = '\0';
}

static void spans_are_found_by_page(void **state) {
    (void)state;
    struct mal_box_spans head;
    mal_writer_spans_begin(1ull << 40, 8192);
    for (uint32_t i = 0; i < 3000; i++)
        assert_true(mal_writer_spans_put(&(struct mal_box_span){
            .page = i * 10, .pages = 2, .stack = MAL_BOX_NONE, .objects = 1}));
    assert_int_equal(mal_writer_spans_find(29991)->page, 29990);
    assert_null(mal_writer_spans_find(29992));
    assert_null(mal_writer_spans_find(5));
    mal_writer_spans_find(10)->stack = 77;
    assert_int_equal(mal_writer_spans_end(6000, 2), 3000);
    read_at(offset_of(MAL_BOX_SPANS, 0), &head, offsetof(struct mal_box_spans, span[2]));
    assert_int_equal(head.sequence % 2, 0);
    assert_int_equal(head.count, 3000);
    assert_int_equal(head.total, 6000);
    assert_int_equal(head.span[1].stack, 77);
}

static void the_trace_ring_wraps(void **state) {
    (void)state;
    static char text[MAL_BOX_TRACE_BYTES + 1];
    uint64_t written;
    char line[32];
    mal_writer_trace("one\n", 4);
    mal_writer_trace("two\n", 4);
    read_trace(0, text, &written);
    assert_string_equal(text, "one\ntwo\n");
    for (int i = 0; i < 30000; i++) {
        snprintf(line, sizeof line, "line %09d\n", i);
        mal_writer_trace(line, strlen(line));
    }
    read_trace(8 + 29990ull * 15, text, &written);
    assert_int_equal(written, 8 + 30000ull * 15);
    for (int i = 29990; i < 30000; i++) {
        snprintf(line, sizeof line, "line %09d\n", i);
        assert_memory_equal(text + (size_t)(i - 29990) * 15, line, 15);
    }
}

static void a_text_longer_than_the_ring_is_left_out(void **state) {
    (void)state;
    static char text[MAL_BOX_TRACE_BYTES + 1];
    uint64_t before, after;
    read_at(offset_of(MAL_BOX_TRACE, 0), &before, sizeof before);
    mal_writer_trace(text, sizeof text);
    read_at(offset_of(MAL_BOX_TRACE, 0), &after, sizeof after);
    assert_int_equal(after, before);
}

/* ---- mailbox ---- */

static struct mal_box_mailbox *mail(void) {
    const char *base = mal_writer_base();
    return (struct mal_box_mailbox *)(uintptr_t)(base + offset_of(MAL_BOX_MAILBOX, 0));
}

static void *ask(void *unused) {
    (void)unused;
    struct mal_box_mailbox *box = mail();
    box->command = MAL_BOX_CMD_SET_RATE;
    box->argument = 99;
    __atomic_fetch_add(&box->request, 1, __ATOMIC_RELEASE);
    mal_futex_wake_shared(&box->request, 1);
    return NULL;
}

static void requests_are_heard_and_answered(void **state) {
    (void)state;
    enum mal_box_command command = MAL_BOX_CMD_NONE;
    int64_t argument = 0;
    pthread_t asker;
    assert_false(mal_writer_await_request(1000000, &command, &argument));
    assert_int_equal(mail()->served, 1);
    assert_int_equal(pthread_create(&asker, NULL, ask, NULL), 0);
    for (int i = 0; i < 1000 && !mal_writer_await_request(10000000, &command, &argument); i++)
        ;
    pthread_join(asker, NULL);
    assert_int_equal(command, MAL_BOX_CMD_SET_RATE);
    assert_int_equal(argument, 99);
    mal_writer_answer(512, -ENOSYS);
    assert_int_equal(mail()->done, mail()->request);
    assert_int_equal(mail()->result, 512);
    assert_int_equal(mail()->error, -ENOSYS);
    assert_false(mal_writer_await_request(1000000, &command, &argument));
}

/* ---- children, before the tables are full ---- */

/* Runs `body` in a child whose standard error is captured; returns its exit code. */
static int in_child(int (*body)(void), char *ret_errors, size_t bytes) {
    int errors[2], status;
    assert_int_equal(pipe(errors), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(errors[1], STDERR_FILENO);
        close(errors[0]);
        close(errors[1]);
        int code = body();
        mal_writer_finish(code, MAL_WRITER_REMOVE);
        _exit(code);
    }
    close(errors[1]);
    size_t got = 0;
    for (ssize_t step; (step = read(errors[0], ret_errors + got, bytes - 1 - got)) > 0;)
        got += (size_t)step;
    ret_errors[got] = '\0';
    close(errors[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int open_as_child(void) {
    if (mal_writer_is_open() || mal_writer_open("", 1) != 0)
        return 1;
    const struct mal_box_header *mine = mal_writer_base();
    if (!(mine->flags & MAL_BOX_INHERITED) || mine->pid != (uint32_t)getpid())
        return 2;
    if (mine->stacks_used != header.stacks_used || mine->buckets_used != header.buckets_used)
        return 3;
    if (mine->strings_used < header.strings_used)
        return 6;
    if (mal_writer_counts().count[0].allocs != 0 || mal_writer_bucket(0)->size != 64)
        return 4;
    return mal_writer_path()[0] ? 0 : 5;
}

static void a_child_inherits_tables_without_counts(void **state) {
    (void)state;
    char errors[1024];
    struct mal_box_header before = (read_header(), header);
    assert_int_equal(in_child(open_as_child, errors, sizeof errors), 0);
    assert_string_equal(errors, "");
    read_header();
    assert_memory_equal(&header, &before, sizeof before);
}

/* As when a parent that gave up its rights has ended: it may not remove its file. */
static int open_where_the_pages_are_gone(void) {
    if (mal_writer_open("", 1) != 0)
        return 1;
    char *parent = (char *)(uintptr_t)mal_writer_base();
    if (madvise(parent + MAL_BOX_PAGE_BYTES, MAL_BOX_BYTES - MAL_BOX_PAGE_BYTES, MADV_REMOVE) != 0)
        return 2;
    mal_writer_forget_in_child();
    if (mal_writer_open("", 1) != 0)
        return 3;
    const struct mal_box_header *mine = mal_writer_base();
    if (mine->flags & MAL_BOX_INHERITED || mine->buckets_used != 0 || mine->stacks_used != 0)
        return 4;
    return mal_writer_has_parent() ? 5 : 0;
}

/* An emulator says that it did, and leaves the pages where they are. */
static void a_child_takes_nothing_from_pages_that_are_gone(void **state) {
    (void)state;
    char errors[1024];
    if (is_emulated())
        skip();
    assert_int_equal(in_child(open_where_the_pages_are_gone, errors, sizeof errors), 0);
    assert_string_equal(errors, "");
}

static int open_without_a_file(void) {
    if (mal_writer_open("", 1) != 0)
        return 1;
    if (mal_writer_path()[0] != '\0')
        return 2;
    uintptr_t pc = 1;
    if (mal_writer_add_stack(&pc, 1) == MAL_BOX_NONE)
        return 3;
    mal_writer_publish(&row);
    mal_writer_trace("x\n", 2);
    return ((const struct mal_box_header *)mal_writer_base())->state == MAL_BOX_RUNNING ? 0 : 4;
}

static void without_a_place_the_box_is_anonymous(void **state) {
    (void)state;
    char missing[80];
    snprintf(missing, sizeof missing, "%s/missing", folder);
    const char *const places[] = {missing, "/dev/null", "/proc/self"};
    char errors[1024];
    for (size_t i = 0; i < 3; i++) {
        place_boxes_in(places[i]);
        assert_int_equal(in_child(open_without_a_file, errors, sizeof errors), 0);
        assert_memory_equal(errors, "mallard: ", 9);
        assert_non_null(strstr(errors, places[i]));
        assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
    }
    place_boxes_in(folder);
}

/* ---- full tables ---- */

static void full_tables_say_so(void **state) {
    (void)state;
    uintptr_t pcs[MAL_BOX_DEPTH_MAX] = {0};
    struct mal_box_bucket key = {.size = 16};
    struct mal_box_module module = {0};
    static char text[70000];
    while (mal_writer_add_stack(pcs, MAL_BOX_DEPTH_MAX) != MAL_BOX_NONE)
        ;
    while (mal_writer_add_bucket(&key) != MAL_BOX_NONE)
        ;
    while (mal_writer_add_module(&module))
        ;
    while (mal_writer_add_string(text, sizeof text).bytes != 0)
        ;
    read_header();
    assert_in_range(header.stacks_used, MAL_BOX_STACK_WORDS - MAL_BOX_DEPTH_MAX,
                    MAL_BOX_STACK_WORDS);
    assert_int_equal(header.buckets_used, MAL_BOX_BUCKETS_MAX);
    assert_int_equal(header.modules_used, MAL_BOX_MODULES_MAX);
    assert_in_range(header.strings_used, MAL_BOX_STRINGS_BYTES - sizeof text,
                    MAL_BOX_STRINGS_BYTES);
    assert_int_equal(mal_writer_bucket(0)->size, 64);
}

static void the_end_marks_and_removes_the_box(void **state) {
    (void)state;
    mal_writer_finish(3, MAL_WRITER_KEEP);
    assert_int_equal(access(mal_writer_path(), F_OK), 0);
    mal_writer_finish(3, MAL_WRITER_REMOVE);
    assert_int_equal(access(mal_writer_path(), F_OK), -1);
    read_header();
    assert_int_equal(header.state, MAL_BOX_EXITED);
    assert_int_equal(header.exit_code, 3);
    assert_true(header.ended_unix_ns >= header.started_unix_ns);
    close(box_fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_box_is_a_private_sparse_file),
        cmocka_unit_test(sections_are_whole_pages_that_do_not_overlap),
        cmocka_unit_test(the_header_says_who_writes),
        cmocka_unit_test(what_is_appended_can_be_read),
        cmocka_unit_test(counts_lie_apart),
        cmocka_unit_test(a_module_can_be_read),
        cmocka_unit_test(the_rate_and_the_dropped_are_in_the_header),
        cmocka_unit_test(a_copy_under_the_sequence_lock_is_whole),
        cmocka_unit_test(history_is_a_row_a_second),
        cmocka_unit_test(spans_are_found_by_page),
        cmocka_unit_test(the_trace_ring_wraps),
        cmocka_unit_test(writers_of_statistics_take_turns),
        cmocka_unit_test(a_text_longer_than_the_ring_is_left_out),
        cmocka_unit_test(requests_are_heard_and_answered),
        cmocka_unit_test(a_child_inherits_tables_without_counts),
        cmocka_unit_test(a_child_takes_nothing_from_pages_that_are_gone),
        cmocka_unit_test(without_a_place_the_box_is_anonymous),
        cmocka_unit_test(full_tables_say_so),
        cmocka_unit_test(the_end_marks_and_removes_the_box),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
