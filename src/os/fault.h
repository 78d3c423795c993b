/* SPDX-License-Identifier: Apache-2.0
 *
 * Having a word before a segmentation fault ends the process.
 */
#ifndef MAL_OS_FAULT_H
#define MAL_OS_FAULT_H

#include <stdint.h>

/* If SIGSEGV has its default action: calls `say` with the address of every invalid access, from the
 * signal handler, and then lets the default action take place at the same instruction. A program's
 * own handler, installed before or after, is left alone. */
void mal_fault_announce(void (*say)(uintptr_t address));

#endif
