; SPDX-License-Identifier: Apache-2.0
;
; What a Lisp program asks of the collector under ECL: everything is printed, and the same on
; Boehm's and on Mallard's.

(defun say (&rest words)
  (format t "~{~a~}~%" words))

(defun collect ()
  (dotimes (i 3) (ext:gc t)))

; ---- lists, strings, numbers ----

(defun churn (count)
  (let ((kept nil))
    (dotimes (i count (length kept))
      (push (make-string 8 :initial-element #\a) kept)
      (when (zerop (mod i 1000)) (setf kept nil)))))

(defun fib (n)
  (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))

(defstruct node left right number)

(defun tree (depth)
  (if (zerop depth)
      (make-node :number 1)
      (make-node :left (tree (- depth 1)) :right (tree (- depth 1)) :number depth)))

(defun leaves (node)
  (if (node-left node) (+ (leaves (node-left node)) (leaves (node-right node))) 1))

(defun values-in-general ()
  (say "fib " (fib 15))
  (say "churn " (churn 100000))
  (let ((kept (tree 13)))
    (dotimes (i 10) (tree 12))
    (collect)
    (say "tree " (leaves kept)))
  (say "digits " (length (princ-to-string (let ((n 1)) (dotimes (i 1000 n) (setf n (* n (1+ i))))))))
  (let ((table (make-hash-table :test 'equal)))
    (dotimes (i 10000) (setf (gethash (format nil "key ~a" i) table) (list i)))
    (collect)
    (say "table " (hash-table-count table) " " (gethash "key 777" table)))
  (let ((symbols (loop for i below 2000 collect (intern (format nil "SYMBOL ~a" i)))))
    (collect)
    (say "symbols " (loop for s in symbols for i from 0
                          always (eq s (intern (format nil "SYMBOL ~a" i)))))))

(defclass thing () ((name :initarg :name :reader name) (next :initarg :next :reader next)))

(defun objects ()
  (let ((head nil))
    (dotimes (i 2000) (setf head (make-instance 'thing :name i :next head)))
    (collect)
    (say "objects " (loop for thing = head then (next thing) while thing sum (name thing)))
    (let ((closures (loop for i below 1000 collect (let ((n i)) (lambda () (incf n))))))
      (collect)
      (say "closures " (loop for f in closures sum (funcall f))))))

; ---- what is weak ----

(defun drop-weakly (table)
  (dotimes (i 5000) (setf (gethash (list i) table) i)))

(defun weak ()
  (let ((table (make-hash-table :test 'eq :weakness :key)) (kept (list 'kept)))
    (setf (gethash kept table) 'value)
    (drop-weakly table)
    (churn 20000)
    (collect)
    (say "weak table " (gethash kept table) " "
         (< (let ((n 0)) (maphash (lambda (k v) (declare (ignore k v)) (incf n)) table) n) 1000)))
  (let ((pointers (loop for i below 500 collect (ext:make-weak-pointer (list i))))
        (kept (list 'kept)))
    (let ((held (ext:make-weak-pointer kept)))
      (churn 20000)
      (collect)
      (say "weak pointers " (< (count-if #'ext:weak-pointer-value pointers) 100) " "
           (eq (ext:weak-pointer-value held) kept)))))

(defvar *finalized* 0)

(defun drop-finalized ()
  (dotimes (i 500)
    (ext:set-finalizer (list i) (lambda (object) (declare (ignore object)) (incf *finalized*)))))

(defun finalizers ()
  (drop-finalized)
  (loop repeat 50 while (< *finalized* 450) do (churn 20000) (collect))
  (say "finalizers " (>= *finalized* 450)))

; ---- control ----

(defvar *bound* 'outside)

(defun work (seed)
  (let ((*bound* (loop for i below 2000 collect (* i seed))))
    (churn 20000)
    (reduce #'+ *bound*)))

(defun threads ()
  (let* ((results (make-array 4 :initial-element nil))
         (all (loop for n below 4
                    collect (let ((n n))
                              (mp:process-run-function
                                'worker (lambda () (setf (aref results n) (work (1+ n)))))))))
    (mapc #'mp:process-join all)
    (say "threads " results " " *bound*)))

(defun unwinding ()
  (let ((unwound 0))
    (dotimes (i 2000)
      (handler-case
          (unwind-protect (progn (make-string 100) (error "as expected ~a" i)) (incf unwound))
        (error () nil)))
    (say "unwound " unwound))
  (say "caught " (catch 'done (mapc (lambda (i) (when (= i 7) (throw 'done (list i (churn 5000)))))
                                    '(1 5 7 9)))))

(defun forks ()
  (finish-output)
  (say "child says " (with-output-to-string (to)
                       (ext:run-program "/bin/echo" '("hello") :output to)))
  (say "status " (ext:system "exit 7")))

(values-in-general)
(objects)
(weak)
(finalizers)
(threads)
(unwinding)
(forks)
(say "end")
(finish-output)
(ext:quit 0)
