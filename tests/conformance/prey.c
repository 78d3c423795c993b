/* SPDX-License-Identifier: Apache-2.0
 *
 * A process to be watched: allocates what it is told, in functions with names of their own, and
 * ends as it is told. Reads one order a line:
 *
 *     grow BYTES      allocates as many, in blocks of 64 KiB, and touches them; answers "grown"
 *     leak            grows by 1 MiB every 10 ms until something stops it
 *     exit STATUS     through exit(3)
 *     vanish STATUS   by the system call, past every handler
 *     crash           by a wild store
 *     exec PATH       becomes another program, "prey" again when it is this one
 *     orphan          forks a child that grows and sleeps, and never waits for it; answers its pid
 *
 * The end of the orders is no order: it sleeps on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK_BYTES (64u << 10)
#define START_BYTES (16u << 20) /* a box is made at the first sample: one is sure to be taken */

static void *volatile newest; /* in sight, so that no compiler takes the allocation away */
static int *volatile nowhere;

__attribute__((noinline)) static void prey_leaf(void) {
    char *block = malloc(BLOCK_BYTES);
    if (block == NULL)
        abort();
    memset(block, 1, BLOCK_BYTES);
    newest = block;
}

__attribute__((noinline)) static void prey_branch(size_t bytes) {
    for (size_t done = 0; done < bytes; done += BLOCK_BYTES)
        prey_leaf();
}

static void answer(const char *text) {
    printf("%s\n", text);
    fflush(stdout);
}

static void orphan(void) {
    pid_t pid = fork();
    if (pid == 0) {
        prey_branch(START_BYTES);
        for (;;)
            pause();
    }
    printf("%d\n", (int)pid);
    fflush(stdout);
}

static void obey(const char *order, const char *argument) {
    if (strcmp(order, "grow") == 0) {
        prey_branch(strtoull(argument, NULL, 10));
        answer("grown");
    } else if (strcmp(order, "leak") == 0) {
        for (;; usleep(10000))
            prey_branch(1u << 20);
    } else if (strcmp(order, "exit") == 0) {
        exit(atoi(argument));
    } else if (strcmp(order, "vanish") == 0) {
        syscall(SYS_exit_group, atoi(argument));
    } else if (strcmp(order, "crash") == 0) {
        *nowhere = 1;
    } else if (strcmp(order, "exec") == 0) {
        execl(argument, "prey", (char *)NULL);
        answer(strerror(errno));
    } else if (strcmp(order, "orphan") == 0) {
        orphan();
    }
}

int main(void) {
    char order[16], argument[1024], line[1100];
    prey_branch(START_BYTES);
    answer("ready");
    while (fgets(line, sizeof line, stdin) != NULL) {
        argument[0] = '\0';
        if (sscanf(line, "%15s %1023s", order, argument) >= 1)
            obey(order, argument);
    }
    for (;;)
        pause();
}
