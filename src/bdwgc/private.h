/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this folder share.
 */
#ifndef BDWGC_PRIVATE_H
#define BDWGC_PRIVATE_H

#define GC_NO_THREAD_REDIRECTS
#include "mallard/bdwgc/gc/gc.h"

#define BDWGC_PUBLIC __attribute__((visibility("default")))

/* What memory was asked for and not had: what the program's procedure answers. */
void *bdwgc_no_memory(size_t bytes);

/* Runs finalizers that wait, unless the program wants to do it itself or one is running here. */
void bdwgc_finalize_some(void);
extern int bdwgc_finalizers_wait; /* atomic; a hint */

/* Whether the object was uncollectable; it is not any more. */
int bdwgc_forget_uncollectable(void *object);

#endif
