; SPDX-License-Identifier: Apache-2.0
;
; What a Scheme program asks of the collector under Guile: everything is printed, and the same on
; Boehm's and on Mallard's. In one procedure, since a forked child shares the file's position.

(use-modules (ice-9 threads) (ice-9 weak-vector) (ice-9 format) (ice-9 control) (srfi srfi-1)
             (rnrs bytevectors))

(define (say . words)
  (for-each display words)
  (newline))

(define (repeat count body)
  (do ((i 0 (+ i 1))) ((= i count)) (body i)))

(define (collect)
  (gc)
  (gc)
  (gc))

; ---- lists, strings, numbers ----

(define (churn count)
  (let loop ((i 0) (kept '()))
    (cond ((= i count) (length kept))
          ((zero? (modulo i 1000)) (loop (+ i 1) '()))
          (else (loop (+ i 1) (cons (number->string i) kept))))))

(define (deep n)
  (if (zero? n) 0 (+ 1 (deep (- n 1)))))

(define (factorial n)
  (if (zero? n) 1 (* n (factorial (- n 1)))))

(define (values-in-general)
  (say "churn " (churn 400000))
  (say "deep " (deep 300000))
  (say "digits " (string-length (number->string (factorial 1500))))
  (let* ((numbers (iota 4000))
         (symbols (map (lambda (i) (string->symbol (format #f "symbol ~a" i))) numbers))
         (vectors (map (lambda (i) (make-bytevector 500 (modulo i 256))) numbers)))
    (collect)
    (churn 100000)
    (say "symbols " (every (lambda (s i) (eq? s (string->symbol (format #f "symbol ~a" i))))
                           symbols numbers))
    (say "bytes " (every (lambda (v i) (= (bytevector-u8-ref v 499) (modulo i 256)))
                         vectors numbers))))

; ---- what is weak ----

(define entries 20000)

(define (fill! table weak-key?)
  (let ((kept '()))
    (repeat entries
      (lambda (i)
        (let ((object (list i)))
          (if weak-key?
              (hashq-set! table object (list 'value i))
              (hashv-set! table i object))
          (if (zero? (modulo i 100)) (set! kept (cons object kept))))))
    kept))

(define (size table)
  (hash-fold (lambda (key value count) (+ count 1)) 0 table))

(define (weak-tables)
  (let* ((by-key (make-weak-key-hash-table))
         (kept (fill! by-key #t)))
    (collect)
    (say "weak keys "
         (every (lambda (key) (equal? (hashq-ref by-key key) (list 'value (car key)))) kept)
         " " (< (size by-key) 2000)))
  (let* ((by-value (make-weak-value-hash-table))
         (kept (fill! by-value #f)))
    (collect)
    (say "weak values "
         (every (lambda (value) (eq? (hashv-ref by-value (car value)) value)) kept)
         " " (< (size by-value) 2000)))
  (let ((both (make-doubly-weak-hash-table)))
    (repeat entries (lambda (i) (hashq-set! both (list i) (list i))))
    (collect)
    (say "doubly weak " (< (size both) 2000)))
  (let ((vector (make-weak-vector 1000 #f)) (kept (list 1 2 3)))
    (repeat 999 (lambda (i) (weak-vector-set! vector i (list i))))
    (weak-vector-set! vector 999 kept)
    (collect)
    (say "weak vector "
         (< (count (lambda (i) (weak-vector-ref vector i)) (iota 1000)) 100)
         " " (eq? (weak-vector-ref vector 999) kept))))

(define (guardians)
  (let ((guardian (make-guardian)) (kept (list 'kept)))
    (guardian kept)
    (repeat 2000 (lambda (i) (guardian (list 'dead i))))
    (let loop ((seen '()) (tries 0))
      (let ((object (guardian)))
        (cond (object (loop (cons object seen) tries))
              ((or (> (length seen) 1900) (= tries 50))
               (say "guardian " (> (length seen) 1900) " "
                    (every (lambda (o) (eq? (car o) 'dead)) seen) " " (car kept)))
              (else (churn 20000) (gc) (loop seen (+ tries 1))))))))

(define (hooks)
  (let ((called 0))
    (add-hook! after-gc-hook (lambda () (set! called (+ called 1))))
    (let loop ((tries 0))
      (churn 100000)
      (if (and (< called 3) (< tries 100)) (loop (+ tries 1))))
    (say "hook " (>= called 3))))

; ---- control ----

(define (continuations)
  (let ((resumed 0) (kept '()))
    (repeat 3000
      (lambda (i)
        (let ((n (call/cc (lambda (k)
                            (set! kept (cons k (if (> (length kept) 50) '() kept)))
                            i))))
          (if (< n 3000) (set! resumed (+ resumed 1))))))
    (say "continuations " (>= resumed 3000)))
  (let ((k (% (let ((held (iota 1000))) (abort) (apply + held)) (lambda (k) k))))
    (collect)
    (churn 100000)
    (say "prompt " (k))))

(define (threads)
  (define (work seed)
    (let ((mine (map (lambda (i) (* i seed)) (iota 3000))))
      (churn 100000)
      (apply + mine)))
  (say "threads " (map join-thread
                       (map (lambda (seed) (call-with-new-thread (lambda () (work seed))))
                            '(1 2 3 4 5))))
  (say "in parallel " (par-map work '(6 7 8)))
  (let ((table (make-weak-key-hash-table)) (mutex (make-mutex)))
    (for-each join-thread
              (map (lambda (n)
                     (call-with-new-thread
                       (lambda ()
                         (repeat 5000
                           (lambda (i) (with-mutex mutex (hashq-set! table (list n i) i)))))))
                   '(1 2 3)))
    (collect)
    (say "weak, of threads " (< (size table) 2000))))

(define (forks)
  (let ((kept (iota 1000)))
    (force-output)
    (let ((child (primitive-fork)))
      (cond ((zero? child)
             (churn 200000)
             (gc)
             (primitive-_exit (if (= (apply + kept) 499500) 7 1)))
            (else (say "child " (status:exit-val (cdr (waitpid child)))))))))

(define (main)
  (values-in-general)
  (weak-tables)
  (guardians)
  (hooks)
  (continuations)
  (threads)
  (forks)
  (catch 'misc-error
    (lambda () (error "as expected" (churn 1000)))
    (lambda (key . rest) (say "caught " key)))
  (say "end")
  (force-output)
  (primitive-exit 0))

(main)
