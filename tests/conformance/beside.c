/* SPDX-License-Identifier: Apache-2.0
 *
 * Every name of the family, each object given back by another name of it. See beside.py.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void free_sized(void *pointer, size_t bytes) __attribute__((weak));
void free_aligned_sized(void *pointer, size_t alignment, size_t bytes) __attribute__((weak));

/* C++'s delete with a size, which few replace. */
void delete_sized(void *object, size_t bytes) __asm__("_ZdlPvm") __attribute__((weak));

/* Where there is an allocator that says how many of its objects live. */
extern long other_live_objects __attribute__((weak));

static long live_objects(void) {
    return &other_live_objects ? other_live_objects : 0;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    long live = live_objects();
    volatile size_t too_many = (size_t)-1;
    char *text = reallocarray(NULL, 10, 100);

    strcpy(text, "kept");
    text = realloc(text, 5000);
    text = reallocarray(text, 100, 100);
    printf("%s %d\n", text, reallocarray(NULL, too_many, 2) == NULL);
    free(text);
    free(pvalloc(100));
    free(memalign(64, 100));
    if (delete_sized)
        delete_sized(malloc(100), 100);
    if (free_sized)
        free_sized(malloc(100), 100);
    if (free_aligned_sized)
        free_aligned_sized(aligned_alloc(64, 128), 64, 128);
    printf("%d\n", malloc_usable_size(text = calloc(10, 10)) >= 100);
    free(text);
    printf("%ld\n", live_objects() - live);
    return 0;
}
