# The program of the local chain. What it does is described in emitter.py, the syntax in asm.py.
#
# Constants account.*, error.*, event.*, instruction.* come from the IDLs; token_program.* are the words of its key.
#
# Everywhere: r6 = the globals below, r7 = cursor in the instruction data, r8 = its end. Functions inherit the three, and
# what they do to them ends with their return. A function that can fail returns the program's error code, or 0.

# --- what the runtime passes --------------------------------------------------------------------------------------
# r1 = u64 number of accounts, the accounts, u64 length of the instruction data, the data, the program's id.
# An account is as below, its data padded to 8 bytes and followed by 10,240 spare bytes and a u64; or, if it was there
# before, its index and 7 bytes.

.set FIRST_TIME, 0xff           # in the place of that index
.set SIGNER, 1
.set WRITABLE, 2
.set KEY, 8
.set OWNER, 40
.set LAMPORTS, 72
.set DATA_LENGTH, 80
.set DATA, 88
.set BEHIND_DATA, 10240+8

# --- globals, on the heap, which is 32 KiB of zeros at first ------------------------------------------------------

.set HEAP, 0x300000000

.set COUNT, 0                   # number of accounts
.set OUT, 8                     # where the next byte of the buffer goes
.set ZEROS, 16                  # 32 bytes that stay zero
.set ARGUMENT_1, 48             # addresses of Borsh fields in the instruction data
.set ARGUMENT_2, 56
.set ARGUMENT_3, 64
.set ID, 72                     # of the job or node in account 0: the address of its id, a Borsh string,
.set PARTY, 80                  #   of the client's or owner's key,
.set TIMES, 88                  #   of the two timestamps with the status behind,
.set RESULT, 96                 #   of result_hash,
.set TAIL, 104                  #   of payment_settled with the bump behind

.set SEEDS, 112                 # 3 * (address, length)
.set PREFIX, 160
.set DERIVED, 168
.set BUMP, 200

.set CALL, 208                  # SolInstruction: program id, accounts, number of them, data, its length
.set METAS, 248                 # 3 SolAccountMeta of 16 bytes: address of the key, u8 writable, u8 signer
.set INFOS, 296                 # 3 SolAccountInfo of 56 bytes, see pass
.set TRANSFER, 464              # u8 3, u64 amount

.set ACCOUNTS, 512              # addresses of the accounts, at most 256
.set ACCOUNT_0, ACCOUNTS
.set ACCOUNT_1, ACCOUNTS+8
.set ACCOUNT_2, ACCOUNTS+16
.set ACCOUNT_3, ACCOUNTS+24
.set ACCOUNT_4, ACCOUNTS+32
.set ACCOUNT_5, ACCOUNTS+40
.set ACCOUNT_6, ACCOUNTS+48

.set BUFFER, 2560               # an event or account in the making. It is not bounded: who runs out of the heap,
                                # which takes an id of 29 KB, is stopped by the VM

# --- constants ----------------------------------------------------------------------------------------------------

.set MALFORMED, 1
.set OUT_OF_RANGE, 2
.set CUSTOM_ZERO, 0x100000000   # how Custom(0) is told from success

.set EVENT_CPI, 0x1d9acb512ea545e4

.set CONSTRAINT_SEEDS, 2006     # Anchor's own error codes
.set INVALID_PROGRAM_ID, 3008
.set ACCOUNT_NOT_SIGNER, 3010

.set PENDING, 0
.set ASSIGNED, 1
.set RUNNING, 2
.set COMPLETED, 3
.set CANCELLED, 5
.set LAST_JOB_TYPE, 5
.set LAST_NODE_STATUS, 2
.set FIRST_REPUTATION, 100

.set LONGEST_SEED, 32
.set TOKEN_TRANSFER, 3

# --- start --------------------------------------------------------------------------------------------------------

entrypoint:
        lddw r6, HEAP
        ldxdw r3, [r1]                          # accounts to come
        stxdw [r6+COUNT], r3
        add64 r1, 8
        mov64 r5, r6
        add64 r5, ACCOUNTS
account:
        jeq r3, 0, arguments
        sub64 r3, 1
        ldxb r2, [r1]
        jne r2, FIRST_TIME, repeated
        mov64 r4, r1
        ldxdw r2, [r1+DATA_LENGTH]
        add64 r2, 7
        and64 r2, -8
        add64 r1, r2
        add64 r1, DATA+BEHIND_DATA
        ja remember
repeated:
        lsh64 r2, 3
        add64 r2, r6
        ldxdw r4, [r2+ACCOUNTS]
        add64 r1, 8
remember:
        stxdw [r5], r4
        add64 r5, 8
        ja account

arguments:
        ldxdw r8, [r1]
        mov64 r7, r1
        add64 r7, 8
        add64 r8, r7
        mov64 r1, r8
        sub64 r1, r7
        jlt r1, 8, record
        ldxdw r1, [r7]
        lddw r2, EVENT_CPI
        jeq r1, r2, success
        add64 r7, 8
        lddw r2, instruction.create_job
        jeq r1, r2, create_job
        lddw r2, instruction.assign_job
        jeq r1, r2, assign_job
        lddw r2, instruction.submit_result
        jeq r1, r2, submit_result
        lddw r2, instruction.settle_job
        jeq r1, r2, settle_job
        lddw r2, instruction.cancel_job
        jeq r1, r2, cancel_job
        lddw r2, instruction.register_node
        jeq r1, r2, register_node
        lddw r2, instruction.update_node_status
        jeq r1, r2, update_node_status
        lddw r2, instruction.deregister_node
        jeq r1, r2, deregister_node
        sub64 r7, 8

# --- records ------------------------------------------------------------------------------------------------------

record:
        jeq r7, r8, success
        mov64 r3, r8
        sub64 r3, r7
        jlt r3, 4, malformed
        ldxw r2, [r7]                           # operation << 24 | length
        mov64 r4, r2
        rsh64 r4, 24
        and64 r2, 0xffffff
        add64 r7, 4
        mov64 r1, r7                            # the payload
        add64 r7, r2
        jgt r7, r8, malformed
        jeq r4, 0, op_emit
        jeq r4, 1, op_write
        jeq r4, 2, op_text
        jeq r4, 3, op_invoke
        jeq r4, 4, op_fail
malformed:
        mov64 r0, MALFORMED
        exit
success:
        mov64 r0, 0
leave:
        exit

op_emit:
        call log
        ja record

op_write:                                       # u32 offset, bytes
        jlt r2, 4, malformed
        ldxdw r3, [r6+COUNT]
        jeq r3, 0, out_of_range
        mov64 r3, r2
        sub64 r3, 4
        mov64 r2, r1
        add64 r2, 4
        ldxw r4, [r1]
        ldxdw r1, [r6+ACCOUNT_0]
        add64 r1, DATA
        add64 r1, r4
        call write
        jne r0, 0, leave
        ja record
out_of_range:
        mov64 r0, OUT_OF_RANGE
        exit

op_text:
        syscall sol_log_
        ja record

op_invoke:                                      # program id, instruction data
        jlt r2, 32, malformed
        sub64 r2, 32
        stxdw [r6+CALL], r1
        stdw [r6+CALL+16], 0
        add64 r1, 32
        stxdw [r6+CALL+24], r1
        stxdw [r6+CALL+32], r2
        mov64 r3, 0
        call invoke
        ja record

op_fail:                                        # u32 code
        jlt r2, 4, malformed
        ldxw r0, [r1]
        jne r0, 0, leave
        lddw r0, CUSTOM_ZERO
        exit

# --- job_receipt --------------------------------------------------------------------------------------------------

create_job:                                     # job, client (signer), system program
        ldxdw r1, [r6+COUNT]
        jlt r1, 3, malformed
        stxdw [r6+ARGUMENT_1], r7               # job_id
        call string
        jeq r0, 0, malformed
        mov64 r9, r0                            # u8 job_type, u64 price
        mov64 r7, r0
        add64 r7, 9                             # requirements_hash
        call string
        jeq r0, 0, malformed
        ldxdw r1, [r6+ACCOUNT_1]
        ldxb r1, [r1+SIGNER]
        jeq r1, 0, not_signer

        mov64 r0, error.JobIdTooLong
        ldxdw r1, [r6+ARGUMENT_1]
        ldxw r1, [r1]
        jgt r1, 32, leave
        mov64 r0, error.InvalidJobType
        ldxb r1, [r9]
        jgt r1, LAST_JOB_TYPE, leave
        mov64 r0, error.InvalidPrice
        ldxdw r1, [r9+1]
        jeq r1, 0, leave
        mov64 r0, error.RequirementsHashTooLong
        ldxw r1, [r7]
        jgt r1, 64, leave
        lddw r1, 0x626f6a                       # "job"
        mov64 r2, 3
        call derive
        jne r0, 0, leave
        mov64 r1, error.JobAlreadyExists
        call vacant
        jne r0, 0, leave

        lddw r1, account.JobAccount
        call begin
        ldxdw r1, [r6+ARGUMENT_1]
        call put_string
        call put_party
        mov64 r1, 32                            # assigned_node
        call put_zeros
        mov64 r1, r9
        mov64 r2, 9
        call put
        mov64 r1, r7
        call put_string
        call now
        mov64 r1, r0                            # created_at
        call put_u64
        mov64 r1, 8+1+4+4+1                     # completed_at, status, no result_hash, no logs_url, payment_settled
        call put_zeros
        mov64 r1, r6
        add64 r1, BUMP
        mov64 r2, 1
        call put
        call store_account
        jne r0, 0, leave

        lddw r1, event.JobCreatedEvent
        call begin
        ldxdw r1, [r6+ARGUMENT_1]
        call put_string
        call put_party
        mov64 r1, r9
        mov64 r2, 9
        call put
        ja finish

assign_job:                                     # job, authority (signer), node_operator
        ldxdw r1, [r6+COUNT]
        jlt r1, 3, malformed
        call string                             # node_id
        jeq r0, 0, malformed
        call load_job
        jne r0, 0, leave
        ldxdw r1, [r6+ACCOUNT_1]
        ldxb r1, [r1+SIGNER]
        jeq r1, 0, not_signer
        mov64 r0, error.JobNotPending
        ldxdw r2, [r6+TIMES]
        ldxb r1, [r2+16]
        jne r1, PENDING, leave

        stb [r2+16], ASSIGNED
        ldxdw r9, [r6+ACCOUNT_2]
        add64 r9, KEY
        ldxdw r1, [r6+PARTY]
        add64 r1, 32                            # assigned_node
        mov64 r2, r9
        mov64 r3, 32
        syscall sol_memcpy_
        lddw r1, event.JobAssignedEvent
        call begin_with_id
        mov64 r1, r7
        call put_string
        mov64 r1, r9
        call put_key
        ja finish

submit_result:                                  # job, operator (signer), assigned_node
        ldxdw r1, [r6+COUNT]
        jlt r1, 3, malformed
        mov64 r9, r7                            # result_hash
        call string
        jeq r0, 0, malformed
        mov64 r7, r0                            # logs_url
        call string
        jeq r0, 0, malformed
        call load_job
        jne r0, 0, leave
        ldxdw r1, [r6+ACCOUNT_1]
        ldxb r1, [r1+SIGNER]
        jeq r1, 0, not_signer
        ldxdw r1, [r6+PARTY]
        add64 r1, 32                            # assigned_node
        ldxdw r2, [r6+ACCOUNT_2]
        call differ
        jne r0, 0, unauthorized
        mov64 r0, error.ResultHashInvalid
        ldxw r1, [r9]
        jgt r1, 64, leave
        mov64 r0, error.LogsUrlTooLong
        ldxw r1, [r7]
        jgt r1, 128, leave
        mov64 r0, error.JobNotAssigned
        ldxdw r1, [r6+TIMES]
        ldxb r1, [r1+16]
        jeq r1, ASSIGNED, has_runner
        jne r1, RUNNING, leave
has_runner:

        call rewind                             # the rest of the account moves with the lengths of the strings
        mov64 r1, r9
        call put_string
        mov64 r1, r7
        call put_string
        ldxdw r1, [r6+TAIL]
        mov64 r2, 2
        call put
        ldxdw r1, [r6+RESULT]
        call store
        jne r0, 0, leave
        call now
        ldxdw r1, [r6+TIMES]
        stxdw [r1+8], r0                        # completed_at
        stb [r1+16], COMPLETED

        lddw r1, event.JobCompletedEvent
        call begin_with_id
        ldxdw r1, [r6+ACCOUNT_1]
        add64 r1, KEY
        call put_key
        mov64 r1, r9
        call put_string
        mov64 r1, r7
        call put_string
        ja finish

settle_job:                                     # job, client's, operator's, treasury's, incentive pool's tokens,
        ldxdw r1, [r6+COUNT]                    # authority (signer), token program
        jlt r1, 7, malformed
        call load_job
        jne r0, 0, leave
        ldxdw r1, [r6+ACCOUNT_5]
        ldxb r1, [r1+SIGNER]
        jeq r1, 0, not_signer
        call is_token_program
        jne r0, 0, leave
        mov64 r0, error.JobNotCompleted
        ldxdw r1, [r6+TIMES]
        ldxb r1, [r1+16]
        jne r1, COMPLETED, leave
        mov64 r0, error.JobAlreadySettled
        ldxdw r1, [r6+TAIL]
        ldxb r1, [r1]
        jne r1, 0, leave

        ldxdw r9, [r6+PARTY]
        ldxdw r9, [r9+32+32+1]                  # price
        ldxdw r1, [r6+ACCOUNT_1]
        mov64 r2, 0
        mov64 r3, 1                             # writable
        call pass
        ldxdw r1, [r6+ACCOUNT_5]
        mov64 r2, 2
        mov64 r3, 0x100                         # signer
        call pass
        lddw r1, event.PaymentDistributedEvent
        call begin_with_id
        mov64 r1, 80
        ldxdw r2, [r6+ACCOUNT_2]
        call pay
        mov64 r1, 10
        ldxdw r2, [r6+ACCOUNT_3]
        call pay
        mov64 r1, 5
        ldxdw r2, [r6+ACCOUNT_4]
        call pay
        ldxdw r1, [r6+TAIL]
        stb [r1], 1                             # payment_settled
        ja finish

cancel_job:                                     # job, client (signer)
        ldxdw r1, [r6+COUNT]
        jlt r1, 2, malformed
        call load_job
        jne r0, 0, leave
        ldxdw r2, [r6+ACCOUNT_1]
        ldxb r1, [r2+SIGNER]
        jeq r1, 0, not_signer
        ldxdw r1, [r6+PARTY]
        call differ
        jne r0, 0, unauthorized
        mov64 r0, error.InvalidJobStatus
        ldxdw r2, [r6+TIMES]
        ldxb r1, [r2+16]
        jne r1, PENDING, leave

        stb [r2+16], CANCELLED
        lddw r1, event.JobCancelledEvent
        call begin_with_id
        call put_party
        ja finish

not_signer:
        mov64 r0, ACCOUNT_NOT_SIGNER
        exit
unauthorized:
        mov64 r0, error.Unauthorized
        exit

# r1 = percentage of the price in r9, r2 = account that receives it: transfers and appends the amount to the event
pay:
        mov64 r0, r9                            # floor(r9 * r1 / 100) without a product above 64 bits
        div64 r0, 100
        mul64 r0, r1
        mov64 r3, r9
        mod64 r3, 100
        mul64 r3, r1
        div64 r3, 100
        add64 r0, r3
        stb [r6+TRANSFER], TOKEN_TRANSFER
        stxdw [r6+TRANSFER+1], r0
        mov64 r1, r0
        mov64 r7, r2
        call put_u64

        mov64 r1, r7
        mov64 r2, 1
        mov64 r3, 1                             # writable
        call pass
        ldxdw r1, [r6+ACCOUNT_6]
        add64 r1, KEY
        stxdw [r6+CALL], r1
        mov64 r1, r6
        add64 r1, METAS
        stxdw [r6+CALL+8], r1
        stdw [r6+CALL+16], 3
        mov64 r1, r6
        add64 r1, TRANSFER
        stxdw [r6+CALL+24], r1
        stdw [r6+CALL+32], 9
        mov64 r3, 3
        ja invoke

# r0 = 0 if account 6 is the token program
is_token_program:
        ldxdw r1, [r6+ACCOUNT_6]
        mov64 r0, INVALID_PROGRAM_ID
        ldxdw r2, [r1+KEY]
        lddw r3, token_program.0
        jne r2, r3, leave
        ldxdw r2, [r1+KEY+8]
        lddw r3, token_program.1
        jne r2, r3, leave
        ldxdw r2, [r1+KEY+16]
        lddw r3, token_program.2
        jne r2, r3, leave
        ldxdw r2, [r1+KEY+24]
        lddw r3, token_program.3
        jne r2, r3, leave
        ja success

# account 0 as a JobAccount -> its addresses in the globals
load_job:
        lddw r1, account.JobAccount
        ldxdw r7, [r6+ACCOUNT_0]
        ldxdw r8, [r7+DATA_LENGTH]
        jlt r8, 8, malformed
        add64 r7, DATA
        add64 r8, r7
        ldxdw r2, [r7]
        jne r1, r2, malformed
        add64 r7, 8
        stxdw [r6+ID], r7
        call string
        jeq r0, 0, malformed
        stxdw [r6+PARTY], r0
        mov64 r7, r0
        add64 r7, 32+32+1+8                     # client, assigned_node, job_type, price
        call string                             # requirements_hash
        jeq r0, 0, malformed
        stxdw [r6+TIMES], r0
        mov64 r7, r0
        add64 r7, 8+8+1                         # created_at, completed_at, status
        stxdw [r6+RESULT], r7
        call string
        jeq r0, 0, malformed
        mov64 r7, r0
        call string                             # logs_url
        jeq r0, 0, malformed
        stxdw [r6+TAIL], r0
        add64 r0, 2
        jgt r0, r8, malformed
        ja success

# --- node_registry ------------------------------------------------------------------------------------------------

register_node:                                  # node, owner (signer), system program
        ldxdw r1, [r6+COUNT]
        jlt r1, 3, malformed
        stxdw [r6+ARGUMENT_1], r7               # node_id
        call string
        jeq r0, 0, malformed
        stxdw [r6+ARGUMENT_2], r0               # gpu_specs_hash
        mov64 r7, r0
        call string
        jeq r0, 0, malformed
        stxdw [r6+ARGUMENT_3], r0               # location
        mov64 r7, r0
        call string
        jeq r0, 0, malformed
        ldxdw r1, [r6+ACCOUNT_1]
        ldxb r1, [r1+SIGNER]
        jeq r1, 0, not_signer

        mov64 r0, error.NodeIdTooLong
        ldxdw r1, [r6+ARGUMENT_1]
        ldxw r1, [r1]
        jgt r1, 64, leave
        mov64 r0, error.InvalidGpuSpecsHash
        ldxdw r1, [r6+ARGUMENT_2]
        ldxw r1, [r1]
        jgt r1, 64, leave
        mov64 r0, error.LocationTooLong
        ldxdw r1, [r6+ARGUMENT_3]
        ldxw r1, [r1]
        jgt r1, 64, leave
        lddw r1, 0x65646f6e                     # "node"
        mov64 r2, 4
        call derive
        jne r0, 0, leave
        mov64 r1, error.NodeAlreadyRegistered
        call vacant
        jne r0, 0, leave

        lddw r1, account.NodeAccount
        call begin
        call put_party
        ldxdw r1, [r6+ARGUMENT_1]
        call put_string
        ldxdw r1, [r6+ARGUMENT_2]
        call put_string
        ldxdw r1, [r6+ARGUMENT_3]
        call put_string
        call now
        mov64 r9, r0
        mov64 r1, r0                            # registered_at
        call put_u64
        mov64 r1, r9                            # last_heartbeat
        call put_u64
        mov64 r1, 1+8                           # status, stake_amount
        call put_zeros
        mov64 r1, FIRST_REPUTATION              # u16, and the first 6 bytes of jobs_completed
        call put_u64
        mov64 r1, 2+8                           # the rest of them, total_earned
        call put_zeros
        mov64 r1, r6
        add64 r1, BUMP
        mov64 r2, 1
        call put
        call store_account
        jne r0, 0, leave

        lddw r1, event.NodeRegistered
        call begin
        ldxdw r1, [r6+ARGUMENT_1]
        call put_string
        call put_party
        ja finish

update_node_status:                             # node, owner (signer)
        jeq r7, r8, malformed
        ldxb r1, [r7]                           # status
        jgt r1, LAST_NODE_STATUS, malformed
        call load_owned_node
        jne r0, 0, leave
        call now
        ldxdw r2, [r6+TIMES]
        stxdw [r2+8], r0                        # last_heartbeat
        ldxb r1, [r7]
        stxb [r2+16], r1
        lddw r1, event.NodeStatusUpdated
        call begin_with_id
        mov64 r1, r7
        mov64 r2, 1
        call put
        ja finish

deregister_node:                                # node, owner (signer)
        call load_owned_node
        jne r0, 0, leave
        lddw r1, event.NodeDeregistered
        call begin_with_id
        call put_party
        call finish
        ldxdw r1, [r6+ACCOUNT_0]                # an account is closed by taking all its lamports
        ldxdw r2, [r6+ACCOUNT_1]
        ldxdw r3, [r1+LAMPORTS]
        ldxdw r4, [r2+LAMPORTS]
        add64 r4, r3
        stxdw [r2+LAMPORTS], r4
        stdw [r1+LAMPORTS], 0
        stdw [r1+DATA_LENGTH], 0
        ja success

# account 0 as a NodeAccount of the signer in account 1 -> its addresses in the globals
load_owned_node:
        ldxdw r1, [r6+COUNT]
        jlt r1, 2, malformed
        lddw r1, account.NodeAccount
        ldxdw r7, [r6+ACCOUNT_0]
        ldxdw r8, [r7+DATA_LENGTH]
        jlt r8, 8+32, malformed
        add64 r7, DATA
        add64 r8, r7
        ldxdw r2, [r7]
        jne r1, r2, malformed
        add64 r7, 8
        mov64 r9, r7                            # owner
        add64 r7, 32
        stxdw [r6+ID], r7
        call string
        jeq r0, 0, malformed
        mov64 r7, r0
        call string                             # gpu_specs_hash
        jeq r0, 0, malformed
        mov64 r7, r0
        call string                             # location
        jeq r0, 0, malformed
        stxdw [r6+TIMES], r0
        add64 r0, 8+8+1+8+2+8+8+1               # up to the bump
        jgt r0, r8, malformed
        ldxdw r2, [r6+ACCOUNT_1]
        ldxb r1, [r2+SIGNER]
        jeq r1, 0, not_signer
        mov64 r1, r9
        call differ
        jeq r0, 0, leave
        mov64 r0, error.UnauthorizedNotOwner
        exit

# --- accounts -----------------------------------------------------------------------------------------------------

# r1 = seed's prefix, r2 = its length: account 0 must be the address of prefix, account 1, ARGUMENT_1 -> BUMP
derive:
        stxdw [r6+PREFIX], r1
        stxdw [r6+SEEDS+8], r2
        mov64 r1, r6
        add64 r1, PREFIX
        stxdw [r6+SEEDS], r1
        ldxdw r1, [r6+ACCOUNT_1]
        add64 r1, KEY
        stxdw [r6+SEEDS+16], r1
        stdw [r6+SEEDS+24], 32
        ldxdw r1, [r6+ARGUMENT_1]
        ldxw r2, [r1]
        jgt r2, LONGEST_SEED, wrong_seeds
        stxdw [r6+SEEDS+40], r2
        add64 r1, 4
        stxdw [r6+SEEDS+32], r1
        mov64 r1, r6
        add64 r1, SEEDS
        mov64 r2, 3
        mov64 r3, r8                            # the program's id lies behind the instruction data
        mov64 r4, r6
        add64 r4, DERIVED
        mov64 r5, r6
        add64 r5, BUMP
        syscall sol_try_find_program_address
        jne r0, 0, wrong_seeds
        mov64 r1, r6
        add64 r1, DERIVED
        ldxdw r2, [r6+ACCOUNT_0]
        call differ
        jeq r0, 0, leave
wrong_seeds:
        mov64 r0, CONSTRAINT_SEEDS
        exit

# r1 = the error if account 0 holds something already
vacant:
        mov64 r0, OUT_OF_RANGE
        ldxdw r2, [r6+ACCOUNT_0]
        ldxdw r3, [r2+DATA_LENGTH]
        jlt r3, 8, leave
        mov64 r0, r1
        ldxdw r3, [r2+DATA]
        jne r3, 0, leave
        ja success

# r1 = address of a key, r2 = account: r0 = 0 if it is the account's key
differ:
        add64 r2, KEY
        mov64 r3, 32
        mov64 r4, r10
        sub64 r4, 8
        syscall sol_memcmp_
        ldxw r0, [r10-8]
        exit

# the buffer -> the data of account 0
store_account:
        ldxdw r1, [r6+ACCOUNT_0]
        add64 r1, DATA
# the buffer -> r1, an address in the data of account 0
store:
        mov64 r2, r6
        add64 r2, BUFFER
        ldxdw r3, [r6+OUT]
        sub64 r3, r2
# r3 bytes at r2 -> r1, an address in the data of account 0
write:
        ldxdw r4, [r6+ACCOUNT_0]
        ldxdw r5, [r4+DATA_LENGTH]
        add64 r4, DATA
        add64 r4, r5
        mov64 r5, r1
        add64 r5, r3
        jgt r5, r4, out_of_range
        syscall sol_memcpy_
        ja success

# r0 = address behind the Borsh string at r7, or 0 if that is not before r8
string:
        mov64 r0, 0
        mov64 r1, r7
        add64 r1, 4
        jgt r1, r8, leave
        ldxw r2, [r7]
        add64 r1, r2
        jgt r1, r8, leave
        mov64 r0, r1
        exit

# --- calls to other programs --------------------------------------------------------------------------------------

# r1 = account, r2 = its place 0..2 in the call, r3 = writable | signer << 8. The runtime insists on the addresses at
# which it put the account's parts itself.
pass:
        mov64 r4, r1
        add64 r4, KEY
        mov64 r5, r2
        lsh64 r5, 4
        add64 r5, r6
        stxdw [r5+METAS], r4
        stxh [r5+METAS+8], r3
        mov64 r5, r2
        mul64 r5, 56
        add64 r5, r6
        stxdw [r5+INFOS], r4
        add64 r4, OWNER-KEY
        stxdw [r5+INFOS+32], r4
        add64 r4, LAMPORTS-OWNER
        stxdw [r5+INFOS+8], r4
        add64 r4, DATA-LAMPORTS
        stxdw [r5+INFOS+24], r4
        ldxdw r4, [r1+DATA_LENGTH]
        stxdw [r5+INFOS+16], r4
        ldxw r4, [r1]                           # behind the mark: u8 signer, u8 writable, u8 executable
        rsh64 r4, 8
        stxw [r5+INFOS+48], r4
        exit

# CALL with the first r3 accounts of INFOS; does not return if it fails
invoke:
        mov64 r1, r6
        add64 r1, CALL
        mov64 r2, r6
        add64 r2, INFOS
        mov64 r4, r6                            # no seeds
        mov64 r5, 0
        syscall sol_invoke_signed_c
        exit

# --- the buffer and the log ---------------------------------------------------------------------------------------

# r1 = discriminator of an event that begins with the id in account 0
begin_with_id:
        call begin
        ldxdw r1, [r6+ID]
        ja put_string

# r1 = discriminator
begin:
        call rewind
        ja put_u64

rewind:                                         # keeps r1
        mov64 r2, r6
        add64 r2, BUFFER
        stxdw [r6+OUT], r2
        exit

put_u64:
        ldxdw r2, [r6+OUT]
        stxdw [r2], r1
        add64 r2, 8
        stxdw [r6+OUT], r2
        exit

# r1 = how many, at most 32
put_zeros:
        mov64 r2, r1
        mov64 r1, r6
        add64 r1, ZEROS
        ja put

# the key of account 1
put_party:
        ldxdw r1, [r6+ACCOUNT_1]
        add64 r1, KEY
# the key at r1
put_key:
        mov64 r2, 32
        ja put

# the Borsh string at r1
put_string:
        ldxw r2, [r1]
        add64 r2, 4
# r2 bytes at r1
put:
        mov64 r3, r2
        mov64 r2, r1
        ldxdw r1, [r6+OUT]
        mov64 r4, r1
        add64 r4, r3
        stxdw [r6+OUT], r4
        syscall sol_memcpy_
        exit

# every event of the IDLs ends with the time: adds it and logs the event
finish:
        call now
        mov64 r1, r0
        call put_u64
        mov64 r1, r6
        add64 r1, BUFFER
        ldxdw r2, [r6+OUT]
        sub64 r2, r1
# r2 bytes at r1 as one event
log:
        stxdw [r10-16], r1
        stxdw [r10-8], r2
        mov64 r1, r10
        sub64 r1, 16
        mov64 r2, 1
        syscall sol_log_data
        ja success

# r0 = the Clock's unix_timestamp
now:
        mov64 r1, r10
        sub64 r1, 40
        syscall sol_get_clock_sysvar
        ldxdw r0, [r10-8]
        exit
