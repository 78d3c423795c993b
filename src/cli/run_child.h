/* SPDX-License-Identifier: Apache-2.0
 *
 * The program under `mallard run`: started, sent what we are sent, waited for.
 */
#ifndef MAL_CLI_RUN_CHILD_H
#define MAL_CLI_RUN_CHILD_H

#include <signal.h>
#include <sys/types.h>

struct run_child {
    pid_t pid;
    sigset_t before; /* the signal mask that the program gets */
    sigset_t waited; /* what we wait for instead of taking it */
};

/* Blocks the signals that are to be passed on. Call before any thread is created. */
void run_child_prepare(struct run_child *child);

/* Starts the program; `arguments` ends with NULL. -errno when it cannot be executed. */
int run_child_start(struct run_child *child, char **arguments);

/* Passes signals on until the program has ended; returns its wait status. */
int run_child_wait(struct run_child *child);

#endif
