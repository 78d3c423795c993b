/* SPDX-License-Identifier: Apache-2.0
 *
 * Address space. Preconditions for all: addresses and lengths are multiples of the OS page.
 * Results are a pointer or NULL, and 0 or a negative errno; errno itself is left alone.
 */
#ifndef MAL_OS_VM_H
#define MAL_OS_VM_H

#include "base/attr.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Readable and writable zero pages anywhere. */
void *mal_vm_map(size_t bytes);

/* The same at exactly `address`: -EEXIST when something else is there, -ENOMEM when memory, address
 * space or mappings are short: no other place would do better. */
int mal_vm_map_at(void *address, size_t bytes);

/* Address space without memory, anywhere; commit makes a part of it usable. */
void *mal_vm_reserve(size_t bytes);
int mal_vm_commit(void *address, size_t bytes);

void mal_vm_unmap(void *address, size_t bytes);

/* Gives the pages back. -EINVAL for less than whole OS pages. AT_ONCE they are gone and read as
 * zero afterwards; WHEN_SHORT the OS takes them when it is short of memory, and until then they
 * read as zero or as before, whole pages at a time, till they are next written to. WHEN_SHORT is
 * set before there are threads, and becomes AT_ONCE again where the OS cannot do it. */
int mal_vm_release(void *address, size_t bytes);
enum mal_vm_release { MAL_VM_RELEASE_AT_ONCE, MAL_VM_RELEASE_WHEN_SHORT };
void mal_vm_set_release(enum mal_vm_release release);

/* Whether all that was ever given back reads as zero. */
bool mal_vm_released_is_zero(void);

/* Gives the pages back and lets nobody touch them until they are committed again. On failure they
 * are only given back. */
int mal_vm_forbid(void *address, size_t bytes);

/* One huge page instead of many small ones, for each of the blocks of MAL_VM_HUGE_BYTES, all of
 * which stays as it is while others read and write it. Takes long: memory is copied. 0 or a
 * negative errno when some block could not be had. What of a block has no memory yet gets some. */
#define MAL_VM_HUGE_BYTES ((size_t)2 << 20)
int mal_vm_collapse(void *address, size_t bytes);
/* Whether that is worth trying: pages of 4 KiB, and nobody has switched huge pages off. Reads a
 * file. */
bool mal_vm_may_collapse(void);

/* Moves the memory of whole pages to a place that is mapped as well; what lay there is lost, and
 * where it came from reads as zero afterwards. Nothing has changed on failure, but `to` may read as
 * zero. The place is a mapping of its own from then on, until it is renewed. -EPERM where memory is
 * locked (mlock). MAL_VM_PLACE_LOST: `from` is as it was, but a part of `to` is not mapped any more
 * and could not be mapped again: others may be given its addresses, so all of it is to be unmapped
 * and never used again. */
#define MAL_VM_PLACE_LOST (-EADDRNOTAVAIL)
int mal_vm_move(void *from, void *to, size_t bytes);

/* Fresh zero pages instead of what is mapped there, of one piece with what lies around. */
int mal_vm_renew(void *address, size_t bytes);

/* Gives pages back that nobody uses any more though they were locked (mlock) by who did. -EPERM,
 * and nothing changed, in a process that wants all that it gets locked (mlockall). */
int mal_vm_release_locked(void *address, size_t bytes);

/* How much address space this process may have; a very large number where nobody says. */
uint64_t mal_vm_address_limit_bytes(void);

/* The largest window of addresses worth reserving tables for, and a place where it is likely to
 * be free. Both depend on the machine, the address-space limit and the build. */
size_t mal_vm_window_bytes(void);
uintptr_t mal_vm_window_hint(unsigned attempt, uint64_t random);

size_t mal_vm_page_bytes(void);
#define MAL_VM_PAGE_BYTES_LEAST 4096u /* no page of an OS is smaller */

/* How often memory was asked for, and how often given back. Relaxed atomics. */
extern MAL_HIDDEN uint64_t mal_vm_map_calls;
extern MAL_HIDDEN uint64_t mal_vm_release_calls;

/* Tests: the n-th request for memory from now on fails, ONCE or FROM then on. 0 switches it off. */
enum mal_vm_fault { MAL_VM_FAULT_ONCE, MAL_VM_FAULT_FROM };
void mal_vm_inject_fault(uint64_t nth, enum mal_vm_fault fault);

#endif
