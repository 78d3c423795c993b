/* SPDX-License-Identifier: Apache-2.0
 *
 * A library to load and unload: a thread variable of its own and a data segment.
 */
#include <stdint.h>

static __thread uintptr_t thread_word[64];
uintptr_t gc_tls_data_word = 1;

uintptr_t *gc_tls_word(void);
uintptr_t *gc_tls_word(void) {
    return &thread_word[32];
}
