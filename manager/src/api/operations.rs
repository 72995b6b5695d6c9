//! `sextant.v1.Operations`: what became of a call that was given a key.

use super::convert;
use super::status::status;
use crate::engine::Engine;
use sextant_proto::v1;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone, Debug)]
pub struct Operations {
    /// Does the work.
    pub engine: Engine,
}

#[tonic::async_trait]
impl v1::operations_server::Operations for Operations {
    async fn get(
        &self,
        request: Request<v1::GetOperationRequest>,
    ) -> Result<Response<v1::GetOperationResponse>, Status> {
        let operation = self.engine.operation(&request.into_inner().key).map_err(|e| status(&e))?;
        let operation = Some(convert::operation_to_wire(operation));
        Ok(Response::new(v1::GetOperationResponse { operation }))
    }

    async fn list(
        &self,
        _: Request<v1::ListOperationsRequest>,
    ) -> Result<Response<v1::ListOperationsResponse>, Status> {
        let operations = self.engine.operations().into_iter().map(convert::operation_to_wire).collect();
        Ok(Response::new(v1::ListOperationsResponse { operations }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelOperationRequest>,
    ) -> Result<Response<v1::CancelOperationResponse>, Status> {
        self.engine.cancel(&request.into_inner().key).await.map_err(|e| status(&e))?;
        Ok(Response::new(v1::CancelOperationResponse {}))
    }
}
