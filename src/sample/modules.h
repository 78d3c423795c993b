/* SPDX-License-Identifier: Apache-2.0
 *
 * What is loaded where: enters the objects that stacks pass through into the box.
 */
#ifndef MAL_SAMPLE_MODULES_H
#define MAL_SAMPLE_MODULES_H

#include <stddef.h>
#include <stdint.h>

/* Makes sure that each of these addresses, which must be executing in the calling thread, is
 * covered by a module in the box. PROFILE lock held. */
void mal_modules_note(const uintptr_t *pcs, size_t count);

/* Enters the main program as module 0. PROFILE lock held, box just made. */
void mal_modules_note_program(void);

#endif
