/* SPDX-License-Identifier: Apache-2.0
 *
 * What libmallard.so.0 exports for this library alone, beside its public names. Both are of one
 * version: nobody else may rely on these. See gc/links.c.
 */
#ifndef BDWGC_ENGINE_H
#define BDWGC_ENGINE_H

enum mallard_gc_link_kind { MALLARD_GC_LINK_SHORT, MALLARD_GC_LINK_LONG };

/* 0, 1 when there was one at the place, which is the object's now, -ENOMEM, -EINVAL in an arena. */
int mallard_gc_link_add(void **place, const void *object, unsigned kind);
/* Whether there was one. */
int mallard_gc_link_remove(void **place, unsigned kind);
/* 0, 1 when there is another one already, -ENOENT, -ENOMEM, -EINVAL. */
int mallard_gc_link_move(void **place, void **to, unsigned kind);

/* Calls a function that no stop interrupts: it is short, allocates nothing, waits for nobody. */
void *mallard_gc_link_call(void *(*function)(void *data), void *data);

#endif
