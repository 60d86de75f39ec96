import SwiftUI

@main
struct WarehouseApp: App {
    var body: some Scene {
        WindowGroup { QuestionView() }
    }
}
