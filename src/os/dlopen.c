/* SPDX-License-Identifier: Apache-2.0
 *
 * dlopen, without RTLD_DEEPBIND.
 *
 * A library that is loaded with that flag finds libc's free before ours. What libc allocates for
 * it (strdup, getline, opendir) comes from ours all the same, since libc calls malloc by its name;
 * so does what the program hands over. The first such block that it frees ends the program inside
 * of libc. PHP loads its extensions so. Without the flag they find what everybody finds. What is
 * lost is that two libraries with functions of one name in different versions keep apart, which few
 * rely on and no allocator can see.
 *
 * libc looks at the return address to find the caller, whose search path and namespace count. So
 * the call is passed on by a jump, with the caller's address still on top of the stack.
 *
 * SYNCHRONIZATION: `mal_dlopen_next` has one value once it is known; every thread finds the same.
 *
 * Only in the shared library: what is linked with the archive may have no loader to ask.
 *
 * Must never call the next dlopen from a frame of its own.
 */
#include "base/atomic.h"
#include "base/attr.h"

#include <dlfcn.h>
#include <stddef.h>

void *mallard_dlopen(const char *file, int mode);

typedef void *dlopen_function(const char *file, int mode);

MAL_HIDDEN dlopen_function *mal_dlopen_find(void) __attribute__((used));
MAL_HIDDEN dlopen_function *mal_dlopen_next __attribute__((used));

dlopen_function *mal_dlopen_find(void) {
    dlopen_function *next = (dlopen_function *)dlsym(RTLD_NEXT, "dlopen");
    mal_store_relaxed(&mal_dlopen_next, next);
    return next;
}

#if MAL_OVERRIDE
#define MAL_DLOPEN_NAME                                                                            \
    ".globl dlopen\n"                                                                              \
    ".set dlopen, mallard_dlopen\n"
#else
#define MAL_DLOPEN_NAME
#endif

_Static_assert(RTLD_DEEPBIND == 8, "the mask below");

#if defined(__x86_64__)

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".globl mallard_dlopen\n"
        ".type mallard_dlopen, @function\n"
        "mallard_dlopen:\n"
        "	.cfi_startproc\n"
        "	endbr64\n"
        "	andl $~8, %esi\n"
        "	movq mal_dlopen_next(%rip), %rax\n"
        "	testq %rax, %rax\n"
        "	jnz 1f\n"
        "	pushq %rdi\n"
        "	.cfi_adjust_cfa_offset 8\n"
        "	pushq %rsi\n"
        "	.cfi_adjust_cfa_offset 8\n"
        "	subq $8, %rsp\n"
        "	.cfi_adjust_cfa_offset 8\n"
        "	call mal_dlopen_find\n"
        "	addq $8, %rsp\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "	popq %rsi\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "	popq %rdi\n"
        "	.cfi_adjust_cfa_offset -8\n"
        "1:	jmp *%rax\n"
        "	.cfi_endproc\n"
        ".size mallard_dlopen, . - mallard_dlopen\n" MAL_DLOPEN_NAME ".popsection\n");

#elif defined(__aarch64__)

__asm__(".pushsection .text\n"
        ".balign 16\n"
        ".globl mallard_dlopen\n"
        ".type mallard_dlopen, %function\n"
        "mallard_dlopen:\n"
        "	.cfi_startproc\n"
        "	hint #34\n" /* bti c */
        "	and w1, w1, #0xfffffff7\n"
        "	adrp x16, mal_dlopen_next\n"
        "	ldr x16, [x16, :lo12:mal_dlopen_next]\n"
        "	cbnz x16, 1f\n"
        "	stp x29, x30, [sp, #-32]!\n"
        "	.cfi_def_cfa_offset 32\n"
        "	.cfi_offset x29, -32\n"
        "	.cfi_offset x30, -24\n"
        "	stp x0, x1, [sp, #16]\n"
        "	bl mal_dlopen_find\n"
        "	mov x16, x0\n"
        "	ldp x0, x1, [sp, #16]\n"
        "	ldp x29, x30, [sp], #32\n"
        "	.cfi_restore x29\n"
        "	.cfi_restore x30\n"
        "	.cfi_def_cfa_offset 0\n"
        "1:	br x16\n"
        "	.cfi_endproc\n"
        ".size mallard_dlopen, . - mallard_dlopen\n" MAL_DLOPEN_NAME ".popsection\n");

#endif
