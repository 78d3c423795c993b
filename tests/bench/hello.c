/* SPDX-License-Identifier: Apache-2.0
 *
 * The trivial program: what remains of its time and memory is the allocator's start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    char *greeting = malloc(64);
    if (!greeting)
        return 1;
    strcpy(greeting, "hello, world");
    puts(greeting);
    free(greeting);
    return 0;
}
