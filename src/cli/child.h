/* SPDX-License-Identifier: Apache-2.0
 *
 * The program that `mallard run` starts, and the signals on their way to it.
 */
#ifndef MAL_CLI_CHILD_H
#define MAL_CLI_CHILD_H

#include <sys/types.h>

/* Blocks every signal that is passed on, in the calling thread and those made later. First. */
void cli_child_block_signals(void);

struct cli_child_options {
    char **argv;         /* terminated by NULL */
    const char *library; /* for LD_PRELOAD */
    const char *folder;  /* for MALLARD_DIR */
};

/* Starts the program; its pid, or a negative errno when it could not be executed. */
pid_t cli_child_start(const struct cli_child_options *options);

/* Passes signals on until the program has ended; returns its wait status. */
int cli_child_wait(pid_t pid);

#endif
