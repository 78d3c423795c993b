/* SPDX-License-Identifier: Apache-2.0
 *
 * The rarer names of malloc's family, called as a program calls them.
 *
 *     LD_PRELOAD=libmallard.so.0 names
 *
 * Also runs without the library, but for what libc does not have.
 */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations" /* mallinfo */

#include "mallard/mallard.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int passed, failed;

static void check(bool holds, const char *what) {
    passed += holds;
    failed += !holds;
    printf(holds ? "ok   %s\n" : "FAIL %s\n", what);
}

/* Kept from the compiler, which warns of sizes that nobody can serve. */
static size_t hidden(size_t value) {
    __asm__ volatile("" : "+r"(value));
    return value;
}

/* For who knows what a call that is refused leaves as it is. */
static void *same(void *block) {
    __asm__ volatile("" : "+r"(block));
    return block;
}

static bool is_refused(void *object) {
    bool good = object == NULL && errno == ENOMEM;
    errno = 0;
    return good;
}

static void check_reallocarray(void) {
    size_t half = (size_t)1 << 32;
    char *block = reallocarray(NULL, 10, 10);
    check(block && malloc_usable_size(block) >= 100, "reallocarray gives an array");
    strcpy(block, "precious");
    errno = 0;
    check(is_refused(reallocarray(same(block), hidden(half), half)),
          "a product that overflows is none");
    check(is_refused(reallocarray(same(block), hidden(half + 1), half)),
          "nor one that wraps to little");
    check(strcmp(block, "precious") == 0, "and changes nothing");
    block = reallocarray(block, 1000, 1000);
    check(block && malloc_usable_size(block) >= 1000000 && strcmp(block, "precious") == 0,
          "an array grows");
    free(block);
}

static void check_pages(void) {
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    char *one = pvalloc(1), *two = pvalloc(page_bytes + 1), *none = pvalloc(0), *plain = valloc(1);
    check(malloc_usable_size(one) >= page_bytes, "pvalloc gives a page");
    check(malloc_usable_size(two) >= 2 * page_bytes, "and two for more than one");
    check(one && two && none && plain &&
              ((uintptr_t)one | (uintptr_t)two | (uintptr_t)none | (uintptr_t)plain) % page_bytes ==
                  0,
          "pages are aligned");
    errno = 0;
    check(is_refused(pvalloc(hidden(SIZE_MAX))), "no page holds SIZE_MAX");
    check(is_refused(pvalloc(hidden(SIZE_MAX - page_bytes))), "nor a page less");
    check(is_refused(valloc(hidden(SIZE_MAX))), "valloc neither");
    free(one);
    free(two);
    free(none);
    free(plain);
}

/* ---- names that only free ---- */

static int (*read_memstats)(struct mallard_memstats *stats);

static uint64_t frees_now(void) {
    struct mallard_memstats stats = {.size = sizeof stats};
    return read_memstats(&stats) == 0 ? stats.frees : 0;
}

#define OBJECTS 1000

/* Others may free a few meanwhile. */
static void check_frees(const char *name, void (*end)(void *object)) {
    void *object[OBJECTS];
    for (int i = 0; i < OBJECTS; i++)
        object[i] = malloc(100);
    uint64_t before = frees_now();
    for (int i = 0; i < OBJECTS; i++)
        end(object[i]);
    end(NULL);
    check(frees_now() - before >= OBJECTS, name);
}

static void (*cfree_found)(void *object);
static void (*free_sized_found)(void *object, size_t bytes);
static void (*free_aligned_sized_found)(void *object, size_t alignment, size_t bytes);

static void by_cfree(void *object) {
    cfree_found(object);
}

static void by_size(void *object) {
    free_sized_found(object, 100);
}

static void by_size_and_alignment(void *object) {
    free_aligned_sized_found(object, 16, 100);
}

static void check_names_of_free(void) {
    *(void **)&read_memstats = dlsym(RTLD_DEFAULT, "mallard_read_memstats");
    *(void **)&cfree_found = dlsym(RTLD_DEFAULT, "cfree");
    *(void **)&free_sized_found = dlsym(RTLD_DEFAULT, "free_sized");
    *(void **)&free_aligned_sized_found = dlsym(RTLD_DEFAULT, "free_aligned_sized");
    if (!read_memstats)
        return;
    check_frees("free", free);
    check_frees("cfree", by_cfree);
    check_frees("free_sized", by_size);
    check_frees("free_aligned_sized", by_size_and_alignment);
}

/* ---- what is asked and told ---- */

static void check_statistics(void) {
    static char text[4096];
    struct mallinfo2 before = mallinfo2();
    void *small = malloc(1000), *large = malloc(8 << 20);
    struct mallinfo2 after = mallinfo2();
    check(after.uordblks + after.hblkhd >= before.uordblks + before.hblkhd + 1000 + (8 << 20),
          "mallinfo2 counts what is in use");
    check((int)after.uordblks == mallinfo().uordblks || after.uordblks > INT32_MAX,
          "mallinfo says the same");
    FILE *stream = fmemopen(text, sizeof text, "w");
    check(malloc_info(0, stream) == 0, "malloc_info writes");
    fclose(stream);
    check(strncmp(text, "<malloc ", 8) == 0 && strstr(text, "</malloc>\n"), "what is XML");
    errno = 0;
    check(malloc_info(1, stdout) != 0, "malloc_info knows no options");
    check(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt knows its parameters");
    free(small);
    free(large);
}

int main(void) {
    check_reallocarray();
    check_pages();
    check_names_of_free();
    check_statistics();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
