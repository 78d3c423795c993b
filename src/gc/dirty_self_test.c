/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether a dirty-page backend can be trusted on this kernel.
 *
 * Kernels differ, vendors port features back, and a missed write frees a live object. So each
 * backend shows first, in memory made for it, that it sees writes by stores and by the kernel,
 * again after each clearing, to pages that were given back, to huge pages, and to more scattered
 * pages than are read in one go; that a look changes nothing; and that it does not report what was
 * not written to, which would be right and of no use.
 *
 * A model says per page what must be reported. The test is a list of steps, each of which writes,
 * notes it in the model, looks and compares. 2 ms, 4 MiB of address space, 1.5 MiB of memory where
 * pages have 4 KiB; with transparent huge pages up to 4 MiB.
 *
 * What it leaves out: fork (a child's memory is its own; running a program's fork handlers for a
 * test would be worse), and pinned pages that a device writes to.
 *
 * SYNCHRONIZATION: none; memory and model belong to the call.
 */
#include "base/bits.h"
#include "gc/dirty.h"
#include "os/vm.h"
#include "os/written.h"

#include <errno.h>
#include <string.h>

#define TEST_BYTES ((size_t)4 << 20)
#define MOST_PAGES 1024u /* with 4 KiB pages; fewer where they are larger */

#define SCATTERED_PAGES 512u /* every third of them: more than a scan reads at once */
#define MAYBE 2

struct test {
    const struct mal_gc_dirty *dirty;
    unsigned char *memory;
    size_t page_bytes, pages;
    unsigned char expected[MOST_PAGES]; /* written since the last clear: 0, 1 or MAYBE */
    unsigned char seen[MOST_PAGES];     /* reported by the last call */
};

static uintptr_t low_of(const struct test *test) {
    return (uintptr_t)test->memory;
}

static uintptr_t high_of(const struct test *test) {
    return low_of(test) + test->pages * test->page_bytes;
}

static void see(uintptr_t low, uintptr_t high, void *context) {
    struct test *test = context;
    for (; low < high; low += test->page_bytes)
        test->seen[(low - low_of(test)) / test->page_bytes] = 1;
}

typedef int scan_call(uintptr_t low, uintptr_t high, mal_gc_dirty_visit *visit, void *context);

static int compare(struct test *test, scan_call *scan) {
    memset(test->seen, 0, sizeof test->seen);
    int error = scan(low_of(test), high_of(test), see, test);
    for (size_t page = 0; !error && page < test->pages; page++) {
        if (test->expected[page] != MAYBE && test->expected[page] != test->seen[page])
            error = -EILSEQ;
    }
    return error;
}

/* Twice a look, which must change nothing, then a clear, which must say the same and clear. */
static int look_and_clear(struct test *test) {
    int error = compare(test, test->dirty->look);
    if (!error)
        error = compare(test, test->dirty->look);
    if (!error)
        error = compare(test, test->dirty->clear);
    memset(test->expected, 0, sizeof test->expected);
    return error ? error : compare(test, test->dirty->look);
}

static void write_page(struct test *test, size_t page) {
    volatile unsigned char *byte = test->memory + page * test->page_bytes + page % 64;
    *byte = (unsigned char)(*byte + 1);
    test->expected[page] = 1;
}

static int by_kernel(struct test *test) {
    test->expected[1] = 1;
    int error = mal_written_by_kernel(test->memory + test->page_bytes);
    return error ? error : look_and_clear(test);
}

/* The same page in two epochs. */
static int again(struct test *test) {
    write_page(test, 3);
    int error = look_and_clear(test);
    write_page(test, 3);
    return error ? error : look_and_clear(test);
}

/* Some of these pages have been touched before, most have not. */
static int scattered(struct test *test) {
    size_t pages = mal_min(test->pages, SCATTERED_PAGES);
    for (size_t page = 0; page < pages; page += 3)
        write_page(test, page);
    int error = look_and_clear(test);
    for (size_t page = 0; page < pages; page += 5)
        write_page(test, page);
    return error ? error : look_and_clear(test);
}

static int given_back(struct test *test) {
    uintptr_t at = low_of(test) + 6 * test->page_bytes;
    int error = mal_vm_release((void *)at, 2 * test->page_bytes);
    write_page(test, 6);
    test->expected[7] = MAYBE; /* zero now, so nobody has to look */
    return error ? error : look_and_clear(test);
}

static int run(struct test *test) {
    static int (*const steps[])(struct test * test) = {again, by_kernel, scattered, given_back,
                                                       again};
    int error = test->dirty->add(low_of(test), high_of(test));
    if (!error)
        error = test->dirty->clear(low_of(test), high_of(test), NULL, NULL);
    if (!error)
        error = compare(test, test->dirty->look);
    for (size_t i = 0; !error && i < sizeof steps / sizeof *steps; i++)
        error = steps[i](test);
    test->dirty->release(low_of(test), high_of(test));
    return error;
}

int mal_gc_dirty_self_test(const struct mal_gc_dirty *dirty) {
    struct test test = {.dirty = dirty, .page_bytes = mal_vm_page_bytes()};
    test.pages = TEST_BYTES / test.page_bytes;
    test.memory = mal_vm_map(TEST_BYTES);
    if (!test.memory)
        return -ENOMEM;
    int error = run(&test);
    mal_vm_unmap(test.memory, TEST_BYTES);
    if (error || !(test.memory = mal_vm_map(TEST_BYTES)))
        return error ? error : -ENOMEM;
    mal_written_ask_huge(test.memory, TEST_BYTES);
    memset(test.memory, 1, TEST_BYTES);
    error = run(&test);
    mal_vm_unmap(test.memory, TEST_BYTES);
    return error;
}
